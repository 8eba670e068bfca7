// Everything that openid-client can do with a provider.

import assert from 'node:assert/strict'
import { request as https } from 'node:https'

import * as client from 'openid-client'

import { Browser, client as register, management, run } from './browser.mjs'

const {
  ISSUER, CALLBACK, DEMO_USER, DEMO_PASSWORD, AUTH0_DOMAIN, AUTH0_AUDIENCE, AUTH0_CLIENT_ID, AUTH0_CLIENT_SECRET,
  CLIENT_CERTIFICATE, CLIENT_KEY, CLIENT_NAME,
} = process.env
const issuer = new URL(`https://${AUTH0_DOMAIN}/`)

const discover = (id, secret, auth, options = {}) =>
  client.discovery(issuer, id, secret, auth, { execute: options.execute ?? [], ...options.rest })

const demo = (auth, options) => discover(AUTH0_CLIENT_ID, AUTH0_CLIENT_SECRET, auth, options)

const keys = (name, algorithm) =>
  crypto.subtle.generateKey(algorithm ?? { name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
    .then(async (pair) => ({ pair, jwk: { ...(await crypto.subtle.exportKey('jwk', pair.publicKey)), kid: name, use: 'sig' } }))

// From the authorization request to tokens.
async function login(config, params = {}, options = {}) {
  const verifier = client.randomPKCECodeVerifier()
  const [state, nonce] = [client.randomState(), client.randomNonce()]
  const request = {
    redirect_uri: CALLBACK,
    scope: 'openid email offline_access',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...params,
  }
  const build = options.build ?? client.buildAuthorizationUrl
  const url = await build(config, request)
  const page = await new Browser(CALLBACK).through(url.href, DEMO_USER, DEMO_PASSWORD)
  assert(page.url.startsWith(CALLBACK), `${page.status} ${page.url} ${page.body}`)
  const returned = options.form
    ? new Request(CALLBACK, { method: 'POST', body: page.form })
    : new URL(page.url)
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce }
  return client.authorizationCodeGrant(config, returned, checks, undefined, { DPoP: options.DPoP })
}

const cases = {
  async 'code flow, userinfo, refresh, introspection, revocation'() {
    const config = await demo()
    const tokens = await login(config)
    const { sub } = tokens.claims()
    const userinfo = await client.fetchUserInfo(config, tokens.access_token, sub)
    assert.equal(userinfo.email, DEMO_USER)
    const again = await client.refreshTokenGrant(config, tokens.refresh_token)
    assert.equal(again.claims().sub, sub)
    const shown = await client.tokenIntrospection(config, again.access_token)
    assert.equal(shown.active, true)
    await client.tokenRevocation(config, again.refresh_token)
    await assert.rejects(client.refreshTokenGrant(config, again.refresh_token), { error: 'invalid_grant' })
  },

  async 'every way to authenticate with a secret'() {
    for (const [method, auth] of [
      ['client_secret_basic', client.ClientSecretBasic],
      ['client_secret_post', client.ClientSecretPost],
      ['client_secret_jwt', client.ClientSecretJwt],
    ]) {
      const made = await register({ token_endpoint_auth_method: method })
      const config = await discover(made.client_id, undefined, auth(made.client_secret))
      assert.ok((await login(config)).access_token, method)
    }
  },

  async 'private_key_jwt'() {
    for (const [alg, algorithm] of [
      ['ES256'],
      ['PS256', { name: 'RSA-PSS', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }],
    ]) {
      const { pair, jwk } = await keys('k', algorithm)
      const made = await register({
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [{ ...jwk, alg }] },
      })
      const auth = client.PrivateKeyJwt({ key: pair.privateKey, kid: 'k' })
      const config = await discover(made.client_id, undefined, auth)
      assert.ok((await login(config)).id_token, alg)
    }
  },

  async 'a public client with DPoP and nonces'() {
    const made = await register({ app_type: 'spa', grant_types: ['authorization_code', 'refresh_token'] })
    const config = await discover(made.client_id, undefined, client.None())
    const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair())
    const tokens = await login(config, {}, { DPoP })
    assert.equal(tokens.token_type, 'dpop')
    await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP })
    const again = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
    assert.equal(again.token_type, 'dpop')
    await assert.rejects(client.fetchUserInfo(config, again.access_token, tokens.claims().sub))
  },

  async 'client credentials'() {
    const config = await demo()
    const tokens = await client.clientCredentialsGrant(config, { audience: AUTH0_AUDIENCE, scope: 'read:things' })
    assert.equal(tokens.scope, 'read:things')
    const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('PS256'))
    const bound = await client.clientCredentialsGrant(config, { audience: AUTH0_AUDIENCE }, { DPoP })
    assert.equal(bound.token_type, 'dpop')
  },

  async 'the device flow'() {
    const grant = 'urn:ietf:params:oauth:grant-type:device_code'
    const made = await register({ app_type: 'native', grant_types: [grant, 'refresh_token'] })
    const config = await discover(made.client_id, undefined, client.None())
    const begun = await client.initiateDeviceAuthorization(config, { scope: 'openid offline_access' })
    const polling = client.pollDeviceAuthorizationGrant(config, { ...begun, interval: 1 })
    const browser = new Browser('nowhere')
    const page = await browser.open(begun.verification_uri)
    const next = await browser.submit(page, { user_code: begun.user_code })
    const login = await browser.submit(next, { username: DEMO_USER, password: DEMO_PASSWORD })
    const done = await browser.submit(login, { action: 'accept' })
    assert(done.body.includes('id="device-allowed"'), done.body)
    assert.ok((await polling).refresh_token)
  },

  async 'CIBA by polling'() {
    const made = await register({ grant_types: ['urn:openid:params:grant-type:ciba'] })
    const config = await discover(made.client_id, made.client_secret)
    const begun = await client.initiateBackchannelAuthentication(config, {
      scope: 'openid',
      login_hint: DEMO_USER,
    })
    const decided = await fetch(`${ISSUER}dev/ciba?auth_req_id=${begun.auth_req_id}&action=allow`)
    assert.equal(decided.status, 204)
    const tokens = await client.pollBackchannelAuthenticationGrant(config, { ...begun, interval: 1 })
    assert.ok(tokens.claims().sub)
  },

  async 'token exchange'() {
    const grant = 'urn:ietf:params:oauth:grant-type:token-exchange'
    const made = await register({ grant_types: ['authorization_code', grant] })
    const config = await discover(made.client_id, made.client_secret)
    const { access_token } = await login(config, { audience: AUTH0_AUDIENCE, scope: 'openid read:things' })
    const exchanged = await client.genericGrantRequest(config, grant, {
      subject_token: access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: AUTH0_AUDIENCE,
    })
    assert.equal(exchanged.scope, 'read:things')
  },

  async 'dynamic registration'() {
    await management('tenants/settings', 'PATCH', { flags: { enable_dynamic_client_registration: true } })
    await management('connections', 'GET').then((found) =>
      management(`connections/${found[0].id}`, 'PATCH', { is_domain_connection: true }))
    const config = await client.dynamicClientRegistration(issuer, {
      redirect_uris: [CALLBACK], client_name: 'Stranger', token_endpoint_auth_method: 'client_secret_post',
    })
    const metadata = config.clientMetadata()
    assert.equal(metadata.client_name, 'Stranger')
    assert.ok((await login(config, { scope: 'openid' })).id_token)
    // RFC 7592.
    const authorization = `Bearer ${metadata.registration_access_token}`
    const own = (options) => fetch(metadata.registration_client_uri, { ...options, headers: { authorization } })
    assert.equal((await (await own({})).json()).client_id, metadata.client_id)
    assert.equal((await own({ method: 'DELETE' })).status, 204)
    assert.equal((await own({})).status, 401)
  },

  async 'hybrid and implicit flows'() {
    await management('tenants/settings', 'PATCH', { flags: { enable_implicit_flow: true } })
    const made = await register({ grant_types: ['authorization_code', 'implicit', 'refresh_token'] })
    const configure = (...execute) => discover(made.client_id, made.client_secret, undefined, { execute })
    for (const checks of [[], [client.enableDetachedSignatureResponseChecks]]) {
      const hybrid = await configure(client.useCodeIdTokenResponseType, ...checks)
      const tokens = await login(hybrid, { response_mode: 'form_post' }, { form: true })
      assert.ok(tokens.claims().sub)
    }
    const fragment = await login(await configure(client.useCodeIdTokenResponseType))
    assert.ok(fragment.claims().sub)
    const implicit = await configure(client.useIdTokenResponseType)
    for (const response_mode of ['form_post', 'fragment']) {
      const nonce = client.randomNonce()
      const request = { redirect_uri: CALLBACK, scope: 'openid', nonce, response_mode }
      const url = client.buildAuthorizationUrl(implicit, request)
      const page = await new Browser(CALLBACK).through(url.href, DEMO_USER, DEMO_PASSWORD)
      const answer = () => page.form ? new Request(CALLBACK, { method: 'POST', body: page.form }) : new URL(page.url)
      assert.ok((await client.implicitAuthentication(implicit, answer(), nonce)).sub, response_mode)
      await assert.rejects(client.implicitAuthentication(implicit, answer(), 'another'))
    }
  },

  async 'pushed requests'() {
    const made = await register({ require_pushed_authorization_requests: true })
    const config = await discover(made.client_id, made.client_secret)
    assert.ok((await login(config, {}, { build: client.buildAuthorizationUrlWithPAR })).id_token)
    const url = client.buildAuthorizationUrl(config, { redirect_uri: CALLBACK, scope: 'openid', state: 's' })
    const page = await new Browser(CALLBACK).open(url.href)
    assert.equal(new URL(page.url).searchParams.get('error'), 'invalid_request', page.body)
  },

  async 'signed requests, by value and pushed, and signed answers'() {
    const { pair, jwk } = await keys('r')
    const made = await register({ jwks: { keys: [{ ...jwk, alg: 'ES256' }] }, signed_request_object: { required: true } })
    const key = { key: pair.privateKey, kid: 'r' }
    const signed = (config, request) => client.buildAuthorizationUrlWithJAR(config, request, key)
    const pushed = async (config, request) => {
      const url = await client.buildAuthorizationUrlWithJAR(config, request, key)
      return client.buildAuthorizationUrlWithPAR(config, url.searchParams)
    }
    for (const build of [signed, pushed]) {
      for (const execute of [[], [client.useJwtResponseMode], [client.enableNonRepudiationChecks]]) {
        const config = await discover(made.client_id, made.client_secret, undefined, { execute })
        assert.ok((await login(config, {}, { build })).id_token)
      }
    }
    // Nobody else's key will do, and no request in the clear.
    const config = await discover(made.client_id, made.client_secret)
    const other = await keys('r')
    const forged = (config, request) =>
      client.buildAuthorizationUrlWithJAR(config, request, { key: other.pair.privateKey, kid: 'r' })
    await assert.rejects(login(config, {}, { build: forged }))
    await assert.rejects(login(config))
  },

  async 'FAPI 2.0: pushed, private_key_jwt, bound to a key'() {
    const { pair, jwk } = await keys('f')
    const made = await register({
      token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ ...jwk, alg: 'ES256' }] },
      require_pushed_authorization_requests: true, require_proof_of_possession: true,
    })
    const auth = client.PrivateKeyJwt({ key: pair.privateKey, kid: 'f' })
    const config = await discover(made.client_id, undefined, auth, { execute: [client.useJwtResponseMode] })
    const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
    const build = (config, request) => client.buildAuthorizationUrlWithPAR(config, request, { DPoP })
    const tokens = await login(config, { audience: AUTH0_AUDIENCE, scope: 'openid read:things' }, { build, DPoP })
    assert.equal(tokens.token_type, 'dpop')
    // The code is bound to the key that the pushed request proved.
    const other = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
    await assert.rejects(login(config, {}, { build, DPoP: other }), { error: 'invalid_grant' })
    const shown = await client.tokenIntrospection(config, tokens.access_token)
    assert.equal(shown.active === false || shown.cnf.jkt.length > 0, true)
  },

  async 'client certificates'() {
    // openid-client leaves connections to whoever calls it.
    const fetch = (url, options) => new Promise((resolve, reject) => {
      const call = https(url, {
        method: options.method, headers: Object.fromEntries(new Headers(options.headers)),
        cert: CLIENT_CERTIFICATE, key: CLIENT_KEY,
      }, async (answer) => {
        const parts = []
        for await (const part of answer) parts.push(part)
        const empty = [204, 304].includes(answer.statusCode)
        resolve(new Response(empty ? null : Buffer.concat(parts), { status: answer.statusCode, headers: answer.headers }))
      })
      call.on('error', reject)
      call.end(options.body?.toString())
    })
    const x5c = [CLIENT_CERTIFICATE.replace(/-----[A-Z ]+-----|\s/g, '')]
    const { jwk } = await keys('c')
    for (const registered of [
      { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: CLIENT_NAME },
      { token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks: { keys: [{ ...jwk, x5c }] } },
    ]) {
      const made = await register({ ...registered, tls_client_certificate_bound_access_tokens: true })
      const metadata = { use_mtls_endpoint_aliases: true }
      const config = await discover(made.client_id, metadata, client.TlsClientAuth(), {
        rest: { [client.customFetch]: fetch },
      })
      const tokens = await login(config)
      const { sub } = tokens.claims()
      assert.equal((await client.fetchUserInfo(config, tokens.access_token, sub)).sub, sub)
      const again = await client.refreshTokenGrant(config, tokens.refresh_token)
      // Without the certificate neither the client nor its token is anything.
      const bare = await discover(made.client_id, metadata, client.TlsClientAuth())
      await assert.rejects(client.refreshTokenGrant(bare, again.refresh_token ?? tokens.refresh_token))
      await assert.rejects(client.fetchUserInfo(bare, again.access_token, sub))
    }
  },

  async 'logout'() {
    const config = await demo()
    const url = client.buildEndSessionUrl(config, { id_token_hint: (await login(config)).id_token })
    assert.equal((await fetch(url)).status, 200)
  },
}

await run(cases)
