"""Authlib with the provider: codes with PKCE, refresh, client credentials, private_key_jwt, introspection, revocation;
and an API that Authlib protects."""

import html
import os
import re
import sys
from urllib.parse import parse_qs, urljoin, urlparse

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import JsonWebKey, jwt
from authlib.oauth2 import OAuth2Error, ResourceProtector
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet

# The provider is on this machine, and asked in the clear.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

ISSUER = os.environ["ISSUER"]
CALLBACK = os.environ["CALLBACK"]
METADATA = requests.get(ISSUER + ".well-known/openid-configuration", timeout=20).json()


def submit(session, page, fields):
    """Sends the page's form with its hidden fields and these."""
    action = re.search(r'<form method="post" action="([^"]*)"', page.text)
    assert action, page.text
    form = {html.unescape(n): html.unescape(v)
            for n, v in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page.text)}
    form.update(fields)
    return follow(session, session.post(urljoin(page.url, html.unescape(action.group(1))), data=form,
                                        allow_redirects=False, timeout=20))


def follow(session, page):
    """Follows redirects up to the client's callback."""
    while "location" in page.headers:
        target = urljoin(page.url, page.headers["location"])
        if target.startswith(CALLBACK):
            return target
        page = session.get(target, allow_redirects=False, timeout=20)
    return page


def log_in(url):
    """The address that a login ends at."""
    session = requests.Session()
    page = follow(session, session.get(url, allow_redirects=False, timeout=20))
    fields = {"username": os.environ["DEMO_USER"], "password": os.environ["DEMO_PASSWORD"]}
    page = submit(session, page, fields)
    while not isinstance(page, str):
        page = submit(session, page, {"action": "accept"})
    return page


def demo(**options):
    """The demo application."""
    return OAuth2Session(os.environ["AUTH0_CLIENT_ID"], os.environ["AUTH0_CLIENT_SECRET"],
                         token_endpoint=METADATA["token_endpoint"], redirect_uri=CALLBACK, **options)


def code_flow():
    client = demo(scope="openid email offline_access", code_challenge_method="S256")
    verifier = "v" * 64
    url, state = client.create_authorization_url(METADATA["authorization_endpoint"], code_verifier=verifier,
                                                 nonce="n-1")
    token = client.fetch_token(authorization_response=log_in(url), state=state, code_verifier=verifier)
    keys = JsonWebKey.import_key_set(requests.get(METADATA["jwks_uri"], timeout=20).json())
    claims = jwt.decode(token["id_token"], keys, claims_options={
        "iss": {"essential": True, "value": ISSUER},
        "aud": {"essential": True, "value": os.environ["AUTH0_CLIENT_ID"]},
    })
    claims.validate()
    assert claims["nonce"] == "n-1"
    assert client.get(METADATA["userinfo_endpoint"]).json()["sub"] == claims["sub"]
    again = client.refresh_token(METADATA["token_endpoint"], token["refresh_token"])
    shown = client.introspect_token(METADATA["introspection_endpoint"], again["access_token"])
    assert shown.json()["active"] is True
    gone = client.revoke_token(METADATA["revocation_endpoint"], again["refresh_token"])
    assert gone.status_code == 200


def client_credentials():
    for method in ["client_secret_basic", "client_secret_post"]:
        client = OAuth2Session(os.environ["AUTH0_CLIENT_ID"], os.environ["AUTH0_CLIENT_SECRET"],
                               token_endpoint_auth_method=method)
        token = client.fetch_token(METADATA["token_endpoint"], grant_type="client_credentials",
                                   audience=os.environ["AUTH0_AUDIENCE"])
        assert token["token_type"] == "Bearer"
    made = management("POST", "clients", {
        "name": "Authlib", "grant_types": ["client_credentials"], "token_endpoint_auth_method": "client_secret_jwt",
    })
    management("POST", "client-grants", {
        "client_id": made["client_id"], "audience": os.environ["AUTH0_AUDIENCE"], "scope": [],
    })
    client = OAuth2Session(made["client_id"], made["client_secret"],
                           token_endpoint_auth_method=ClientSecretJWT(METADATA["token_endpoint"]))
    token = client.fetch_token(METADATA["token_endpoint"], grant_type="client_credentials",
                               audience=os.environ["AUTH0_AUDIENCE"])
    assert token["token_type"] == "Bearer"


def management(method, path, body):
    token = requests.post(ISSUER + "oauth/token", timeout=20, json={
        "grant_type": "client_credentials", "client_id": os.environ["AUTH0_MGMT_CLIENT_ID"],
        "client_secret": os.environ["AUTH0_MGMT_CLIENT_SECRET"], "audience": ISSUER + "api/v2/",
    }).json()["access_token"]
    answer = requests.request(method, ISSUER + "api/v2/" + path, json=body, timeout=20,
                              headers={"authorization": "Bearer " + token})
    assert answer.ok, answer.text
    return answer.json()


def private_key_jwt():
    key = JsonWebKey.generate_key("RSA", 2048, {"kid": "k", "use": "sig"}, is_private=True)
    made = management("POST", "clients", {
        "name": "Authlib", "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.as_dict()]},
    })
    management("POST", "client-grants", {
        "client_id": made["client_id"], "audience": os.environ["AUTH0_AUDIENCE"], "scope": ["read:things"],
    })
    client = OAuth2Session(made["client_id"], key.as_pem(is_private=True),
                           token_endpoint_auth_method=PrivateKeyJWT(METADATA["token_endpoint"],
                                                                    headers={"kid": "k"}))
    token = client.fetch_token(METADATA["token_endpoint"], grant_type="client_credentials",
                               audience=os.environ["AUTH0_AUDIENCE"])
    assert token["scope"] == "read:things", token


class Validator(JWTBearerTokenValidator):
    """Knows the provider's keys."""

    def get_jwks(self):
        return KeySet.import_key_set(requests.get(METADATA["jwks_uri"], timeout=20).json())


class Call:
    """A request of somebody who has a token."""

    def __init__(self, token):
        self.headers = {"Authorization": "Bearer " + token}


def resource_protector():
    audience = os.environ["AUTH0_AUDIENCE"]
    api = next(api for api in management("GET", "resource-servers", None) if api["identifier"] == audience)
    management("PATCH", "resource-servers/" + api["id"], {"token_dialect": "rfc9068_profile"})
    client = OAuth2Session(os.environ["AUTH0_CLIENT_ID"], os.environ["AUTH0_CLIENT_SECRET"])
    token = client.fetch_token(METADATA["token_endpoint"], grant_type="client_credentials", audience=audience,
                               scope="read:things")["access_token"]

    def judge(audience, scope, token):
        protector = ResourceProtector()
        protector.register_token_validator(Validator(ISSUER, audience))
        return protector.validate_request([scope], Call(token))

    assert judge(audience, "read:things", token)["client_id"] == os.environ["AUTH0_CLIENT_ID"]
    head, signature = token.rsplit(".", 1)
    for wrong in [(audience, "write:things", token), ("https://other.example/", "read:things", token),
                  (audience, "read:things", head + "." + signature[::-1])]:
        try:
            judge(*wrong)
        except OAuth2Error as error:
            assert error.status_code in (401, 403), error
        else:
            raise AssertionError(wrong)
    management("PATCH", "resource-servers/" + api["id"], {"token_dialect": "access_token"})


for case in [code_flow, client_credentials, private_key_jwt, resource_protector]:
    case()
    print("ok", case.__name__.replace("_", " "), flush=True)
sys.exit(0)
