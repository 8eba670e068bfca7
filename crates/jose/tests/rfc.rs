//! The examples of the RFCs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use jose::{
    Alg, CompactJws, JoseError, SigningKey, VerifyingKey,
    jwe::{self, DecryptionKey, Enc, KeyAlg},
};
use serde_json::{Value, json};

/// The claims of RFC 7515 appendices A.1 to A.3.
const CLAIMS: &[u8] = b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
const CLAIMS_ENCODED: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn verify(jwk: &Value, token: &str) -> Result<Vec<u8>, JoseError> {
    CompactJws::parse(token)?.verify(&VerifyingKey::from_jwk(jwk)?)
}

#[test]
fn rfc_7515_a1_hs256() {
    let jwk = json!({
        "kty": "oct",
        "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    });
    let token = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS_ENCODED}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    assert_eq!(verify(&jwk, &token).unwrap(), CLAIMS);
}

#[test]
fn rfc_7515_a2_rs256() {
    let jwk = json!({
        "kty": "RSA",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "e": "AQAB"
    });
    let token = format!(
        "eyJhbGciOiJSUzI1NiJ9.{CLAIMS_ENCODED}.{}",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    assert_eq!(verify(&jwk, &token).unwrap(), CLAIMS);
}

#[test]
fn rfc_7515_a3_es256() {
    let jwk = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    });
    let token = format!(
        "eyJhbGciOiJFUzI1NiJ9.{CLAIMS_ENCODED}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    assert_eq!(verify(&jwk, &token).unwrap(), CLAIMS);
}

#[test]
fn rfc_7515_a4_es512() {
    let jwk = json!({
        "kty": "EC",
        "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"
    });
    let token = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    assert_eq!(verify(&jwk, token).unwrap(), b"Payload");
}

#[test]
fn rfc_7515_a5_unsecured_is_refused() {
    let jws = format!("eyJhbGciOiJub25lIn0.{CLAIMS_ENCODED}.");
    assert_eq!(CompactJws::parse(&jws).unwrap_err(), JoseError::NotCompactJws);
}

#[test]
fn rfc_8037_a4_is_signed_to_the_byte() {
    let jwk = json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "alg": "EdDSA",
        "kid": "a4"
    });
    let key = SigningKey::from_jwk(&jwk).unwrap();
    let without_kid = json!({"kid": null});
    let token =
        key.sign_with_header(without_kid.as_object().unwrap(), b"Example of Ed25519 signing").unwrap();
    assert_eq!(
        token,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    assert_eq!(
        CompactJws::parse(&token).unwrap().verify(&key.verifying_key()).unwrap(),
        b"Example of Ed25519 signing"
    );
    assert_eq!(key.alg(), Alg::EdDSA);
}

#[test]
fn rfc_7516_a3_key_wrap() {
    let key = DecryptionKey::from_jwk(&json!({"kty": "oct", "k": "GawgguFyGrWKav7AX4VKUg"})).unwrap();
    let token = "eyJhbGciOiJBMTI4S1ciLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0.6KB707dM9YTIgHtLvtgWQ8mKwboJW3of9locizkDTHzBC2IlrT1oOQ.AxY8DCtDaGlsbGljb3RoZQ.KDlTtXchhZTGufMYmOYGS4HffxPSUrfmqCHXaI9wOGY.U0m_YmjN04DJvceFICbCVQ";
    let plain = jwe::decrypt(token, &key, &[KeyAlg::A128Kw], &[Enc::A128CbcHs256]).unwrap();
    assert_eq!(plain, b"Live long and prosper.");
    assert_eq!(
        jwe::decrypt(token, &key, &[KeyAlg::A128Kw], &[Enc::A128Gcm]).unwrap_err(),
        JoseError::AlgNotAllowed
    );
}
