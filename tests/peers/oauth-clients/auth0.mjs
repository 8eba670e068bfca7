// Auth0's own libraries, and Okta's for access tokens, by the https origin: they know no other.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'

import OktaJwtVerifier from '@okta/jwt-verifier'
import { AuthenticationClient, ManagementClient, UserInfoClient } from 'auth0'
import express from 'express'
import openid from 'express-openid-connect'

import { Browser, advance, client as register, management, run } from './browser.mjs'

const {
  AUTH0_DOMAIN: domain, AUTH0_CLIENT_ID, AUTH0_CLIENT_SECRET, AUTH0_MGMT_CLIENT_ID, AUTH0_MGMT_CLIENT_SECRET,
  AUTH0_AUDIENCE, CALLBACK, DEMO_USER, DEMO_PASSWORD,
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

  async 'ManagementClient: clients'() {
    const manager = new ManagementClient({
      domain, clientId: AUTH0_MGMT_CLIENT_ID, clientSecret: AUTH0_MGMT_CLIENT_SECRET,
    })
    const made = await manager.clients.create({ name: 'By the SDK', require_proof_of_possession: true })
    const read = await manager.clients.get(made.client_id)
    assert.equal(read.require_proof_of_possession, true)
    const changed = await manager.clients.update(made.client_id, { description: 'changed' })
    assert.equal(changed.description, 'changed')
    await manager.clients.delete(made.client_id)
    await assert.rejects(manager.clients.get(made.client_id), { statusCode: 404 })
  },

  async 'express-openid-connect: login, profile, logout'() {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const baseURL = `http://localhost:${server.address().port}`
    const made = await register({
      callbacks: [`${baseURL}/callback`], allowed_logout_urls: [baseURL, `${baseURL}/`], app_type: 'regular_web',
    })
    const app = express()
    app.use(openid.auth({
      issuerBaseURL: `https://${domain}`,
      baseURL,
      clientID: made.client_id,
      clientSecret: made.client_secret,
      secret: 'a secret that is long enough for this',
      idpLogout: true,
      authRequired: true,
      authorizationParams: { response_type: 'code', scope: 'openid profile email' },
    }))
    app.get('/', (request, response) => response.json(request.oidc.user))
    server.on('request', app)
    const browser = new Browser('nowhere')
    const page = await browser.through(`${baseURL}/`, DEMO_USER, DEMO_PASSWORD)
    assert.equal(JSON.parse(page.body).email, DEMO_USER)
    const out = await browser.open(`${baseURL}/logout`)
    assert(out.body.includes('id="submit-login"') || out.status === 200, `${out.status} ${out.url}`)
    server.close()
    server.closeAllConnections()
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
