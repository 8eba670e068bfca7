// Auth0's own libraries, and Okta's for access tokens, by the https origin: they know no other.

import assert from 'node:assert/strict'

import OktaJwtVerifier from '@okta/jwt-verifier'
import { AuthenticationClient, UserInfoClient } from 'auth0'

import { Browser, advance, client as register, management, run } from './browser.mjs'

const {
  AUTH0_DOMAIN: domain, AUTH0_CLIENT_ID, AUTH0_CLIENT_SECRET, AUTH0_AUDIENCE, CALLBACK, DEMO_USER, DEMO_PASSWORD,
} = process.env
const REALM = 'Username-Password-Authentication'

const demo = new AuthenticationClient({ domain, clientId: AUTH0_CLIENT_ID, clientSecret: AUTH0_CLIENT_SECRET })

async function code(scope) {
  const query = new URLSearchParams({
    client_id: AUTH0_CLIENT_ID, response_type: 'code', redirect_uri: CALLBACK, scope, state: 's',
  })
  const page = await new Browser(CALLBACK).through(`https://${domain}/authorize?${query}`, DEMO_USER, DEMO_PASSWORD)
  return new URL(page.url).searchParams.get('code')
}

const cases = {
  async 'AuthenticationClient: codes, refresh, userinfo, revocation'() {
    const redirect_uri = CALLBACK
    const { data } = await demo.oauth.authorizationCodeGrant({
      code: await code('openid email offline_access'), redirect_uri,
    })
    const again = await demo.oauth.refreshTokenGrant({ refresh_token: data.refresh_token })
    const userinfo = await new UserInfoClient({ domain }).getUserInfo(again.data.access_token)
    assert.equal(userinfo.data.email, DEMO_USER)
    await demo.oauth.revokeRefreshToken({ token: again.data.refresh_token })
    await assert.rejects(demo.oauth.refreshTokenGrant({ refresh_token: again.data.refresh_token }))
  },

  async 'AuthenticationClient: client credentials and passwords'() {
    const { data } = await demo.oauth.clientCredentialsGrant({ audience: AUTH0_AUDIENCE })
    assert.equal(data.token_type, 'Bearer')
    const made = await register({
      grant_types: ['password', 'http://auth0.com/oauth/grant-type/password-realm'],
    })
    const own = new AuthenticationClient({ domain, clientId: made.client_id, clientSecret: made.client_secret })
    const tokens = await own.oauth.passwordGrant({
      username: DEMO_USER, password: DEMO_PASSWORD, realm: REALM, scope: 'openid',
    })
    assert.ok(tokens.data.id_token)
    const wrong = { username: DEMO_USER, password: 'wrong', realm: REALM }
    await assert.rejects(own.oauth.passwordGrant(wrong), { error: 'invalid_grant' })
  },

  async 'AuthenticationClient: backchannel'() {
    const made = await register({ grant_types: ['urn:openid:params:grant-type:ciba'] })
    const own = new AuthenticationClient({ domain, clientId: made.client_id, clientSecret: made.client_secret })
    const [user] = await management(`users?q=email:"${DEMO_USER}"&search_engine=v3`, 'GET')
    const begun = await own.backchannel.authorize({ userId: user.user_id, binding_message: '42', scope: 'openid' })
    await assert.rejects(own.backchannel.backchannelGrant({ auth_req_id: begun.auth_req_id }))
    await fetch(`https://${domain}/dev/ciba?auth_req_id=${begun.auth_req_id}&action=allow`)
    await advance(5)
    assert.ok((await own.backchannel.backchannelGrant({ auth_req_id: begun.auth_req_id })).id_token)
  },

  async 'AuthenticationClient: sign-up, and a password that is forgotten'() {
    const email = `new-${process.pid}@example.com`
    const made = await demo.database.signUp({
      connection: REALM, email, password: 'Quite-l0ng-enough', user_metadata: { colour: 'blue' },
    })
    assert.equal(made.data.email, email)
    assert.equal(made.data.email_verified, false)
    const again = demo.database.signUp({ connection: REALM, email, password: 'Quite-l0ng-enough' })
    await assert.rejects(again, (error) => error.statusCode === 400)
    const weak = demo.database.signUp({ connection: REALM, email: `2${email}`, password: 'x' })
    await assert.rejects(weak, (error) => error.statusCode === 400)
    for (const known of [email, `nobody-${email}`]) {
      const { data } = await demo.database.changePassword({ connection: REALM, email: known })
      assert.match(data, /We've just sent you an email/)
    }
  },

  async 'AuthenticationClient: PKCE, and requests that are pushed'() {
    const verifier = 'v'.repeat(64)
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))
    const pushed = await demo.oauth.pushedAuthorization({
      client_id: AUTH0_CLIENT_ID, response_type: 'code', redirect_uri: CALLBACK, scope: 'openid', nonce: 'n', state: 's',
      code_challenge: Buffer.from(digest).toString('base64url'), code_challenge_method: 'S256',
    })
    assert.ok(pushed.data.expires_in > 0)
    const query = new URLSearchParams({ client_id: AUTH0_CLIENT_ID, request_uri: pushed.data.request_uri })
    const page = await new Browser(CALLBACK).through(`https://${domain}/authorize?${query}`, DEMO_USER, DEMO_PASSWORD)
    const code = new URL(page.url).searchParams.get('code')
    const wrong = { code, code_verifier: 'w'.repeat(64), redirect_uri: CALLBACK }
    await assert.rejects(demo.oauth.authorizationCodeGrantWithPKCE(wrong), { error: 'invalid_grant' })
    const again = await demo.oauth.pushedAuthorization({
      client_id: AUTH0_CLIENT_ID, response_type: 'code', redirect_uri: CALLBACK, scope: 'openid', nonce: 'n',
      code_challenge: Buffer.from(digest).toString('base64url'), code_challenge_method: 'S256',
    })
    const second = new URLSearchParams({ client_id: AUTH0_CLIENT_ID, request_uri: again.data.request_uri })
    const next = await new Browser(CALLBACK).through(`https://${domain}/authorize?${second}`, DEMO_USER, DEMO_PASSWORD)
    const right = { code: new URL(next.url).searchParams.get('code'), code_verifier: verifier, redirect_uri: CALLBACK }
    // The library checks the ID token itself, and this nonce with it.
    const { data } = await demo.oauth.authorizationCodeGrantWithPKCE(right, { idTokenValidateOptions: { nonce: 'n' } })
    assert.ok(data.id_token)
  },

  async '@okta/jwt-verifier: access tokens'() {
    const issuer = `https://${domain}/`
    const verifier = new OktaJwtVerifier({
      issuer, jwksUri: `https://${domain}/.well-known/jwks.json`,
      testing: { disableHttpsCheck: true },
    })
    const { data } = await demo.oauth.clientCredentialsGrant({ audience: AUTH0_AUDIENCE })
    const verified = await verifier.verifyAccessToken(data.access_token, AUTH0_AUDIENCE)
    assert.equal(verified.claims.sub, `${AUTH0_CLIENT_ID}@clients`)
    await assert.rejects(verifier.verifyAccessToken(data.access_token, 'https://elsewhere.example/'))
  },
}

await run(cases)
