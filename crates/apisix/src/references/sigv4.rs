//! AWS Signature Version 4: what a request to an AWS service is signed with.

use aws_lc_rs::{digest, hmac};
use base::{Secret, UnixMillis};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
/// Of a timestamp: its date.
const DATE_LENGTH: usize = 8;

/// Who signs, and for what.
pub(super) struct Signer<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a Secret<String>,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// A request without a query. `headers` are all that are signed: names in lower case, values without blanks at their
/// ends, in the order of their names.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// The value of `x-amz-date`; `None` beyond the year 9999.
pub(super) fn timestamp(at: UnixMillis) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(at.secs()).ok()?.format(TIMESTAMP).ok()
}

impl Signer<'_> {
    /// The value of `Authorization` of a request sent at `timestamp`.
    pub(super) fn authorization(&self, request: &Signed<'_>, timestamp: &str) -> String {
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        // The empty line is the query.
        let canonical = format!(
            "{}\n{}\n\n{headers}\n{names}\n{}",
            request.method,
            request.path,
            hex(digest::digest(&digest::SHA256, request.body).as_ref())
        );
        let date = timestamp.get(..DATE_LENGTH).unwrap_or(timestamp);
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{digest}");
        let signature = hex(sign(self.key(date).as_ref(), &text).as_ref());
        let id = self.access_key_id;
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    fn key(&self, date: &str) -> hmac::Tag {
        let secret = Secret::new(format!("AWS4{}", self.secret_access_key.expose()));
        let of_date = sign(secret.expose().as_bytes(), date);
        let of_region = sign(of_date.as_ref(), self.region);
        let of_service = sign(of_region.as_ref(), self.service);
        sign(of_service.as_ref(), "aws4_request")
    }
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The credentials of AWS's test suite.
    fn secret() -> Secret<String> {
        Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned())
    }

    /// `aws-sig-v4-test-suite`: requests without a query, and the signatures it has for them.
    #[test]
    fn requests_of_the_published_suite_have_its_signatures() {
        const HOST: (&str, &str) = ("host", "example.amazonaws.com");
        const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");
        const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let secret = secret();
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: &secret,
            region: "us-east-1",
            service: "service",
        };
        for (name, method, headers, body, signature) in [
            (
                "get-vanilla",
                "GET",
                &[HOST, DATE][..],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "post-vanilla",
                "POST",
                &[HOST, DATE],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                &[("content-type", "application/x-www-form-urlencoded"), HOST, DATE],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "post-sts-header-before",
                "POST",
                &[HOST, DATE, ("x-amz-security-token", TOKEN)],
                "",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let told =
                signer.authorization(&Signed { method, path: "/", headers, body: body.as_bytes() }, DATE.1);
            let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, \
                 Signature={signature}",
                names.join(";")
            );
            assert_eq!(told, expected, "{name}");
        }
    }

    /// The example of "Deriving the signing key" in the AWS General Reference.
    #[test]
    fn a_signing_key_is_the_one_of_the_general_reference() {
        let secret = secret();
        let signer =
            Signer { access_key_id: "", secret_access_key: &secret, region: "us-east-1", service: "iam" };
        let expected = "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d";
        assert_eq!(hex(signer.key("20120215").as_ref()), expected);
    }

    #[test]
    fn a_timestamp_is_in_utc() {
        assert_eq!(timestamp(UnixMillis::from_secs(1_440_938_160)).as_deref(), Some("20150830T123600Z"));
    }
}
