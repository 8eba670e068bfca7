// An application that somebody else's middleware protects: express-openid-connect.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'

import express from 'express'
import openid from 'express-openid-connect'

import { Browser, advance, client as register, management, run } from './browser.mjs'

const { AUTH0_DOMAIN: domain, AUTH0_AUDIENCE, DEMO_USER, DEMO_PASSWORD } = process.env

// Starts one with these options, and a browser that is logged in at it.
async function visit(options, registered, check) {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const baseURL = `http://localhost:${server.address().port}`
  const made = await register({
    callbacks: [`${baseURL}/callback`], allowed_logout_urls: [baseURL, `${baseURL}/`], app_type: 'regular_web',
    ...registered(baseURL),
  })
  const app = express()
  app.use(openid.auth({
    issuerBaseURL: `https://${domain}`, baseURL, clientID: made.client_id, clientSecret: made.client_secret,
    secret: 'a secret that is long enough for this', authRequired: true,
    authorizationParams: { response_type: 'code', scope: 'openid profile email' },
    ...options,
  }))
  app.get('/', (request, response) => response.json(request.oidc.user))
  app.get('/token', async (request, response) => {
    let token = request.oidc.accessToken
    if (request.query.refresh) token = await token.refresh()
    response.json({ token: token.access_token, info: await request.oidc.fetchUserInfo() })
  })
  server.on('request', app)
  const browser = new Browser('nowhere')
  try {
    const page = await browser.through(`${baseURL}/`, DEMO_USER, DEMO_PASSWORD)
    assert.equal(JSON.parse(page.body).email, DEMO_USER, page.body)
    await check({ baseURL, browser, made, user: JSON.parse(page.body) })
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

const isLogin = (page) => page.body.includes('id="submit-login"')

const cases = {
  async 'login, and logout at the provider'() {
    for (const options of [{ idpLogout: true }, { idpLogout: true, auth0Logout: true }]) {
      await visit(options, () => ({}), async ({ baseURL, browser }) => {
        // It ends both sessions and comes back to the application, which asks for a login.
        const out = await browser.open(`${baseURL}/logout`)
        assert(isLogin(out), `${out.status} ${out.url} ${out.body}`)
      })
    }
  },

  async 'a logout that is the application\'s alone leaves the session at the provider'() {
    await visit({}, () => ({}), async ({ baseURL, browser }) => {
      const out = await browser.open(`${baseURL}/logout`)
      assert.equal(JSON.parse(out.body).email, DEMO_USER)
    })
  },

  async 'requests that are pushed, PKCE, refresh tokens and userinfo'() {
    const options = {
      pushedAuthorizationRequests: true,
      authorizationParams: {
        response_type: 'code', scope: 'openid profile email offline_access read:things', audience: AUTH0_AUDIENCE,
      },
    }
    const registered = () => ({ require_pushed_authorization_requests: true })
    await management(`resource-servers/${encodeURIComponent(AUTH0_AUDIENCE)}`, 'PATCH', { allow_offline_access: true })
    await visit(options, registered, async ({ baseURL, browser, user }) => {
      const first = JSON.parse((await browser.open(`${baseURL}/token`)).body)
      assert.equal(first.info.sub, user.sub)
      await advance(1)
      const second = JSON.parse((await browser.open(`${baseURL}/token?refresh=1`)).body)
      assert.notEqual(second.token, first.token)
    })
  },

  async 'a logout elsewhere, told over the back channel'() {
    const ended = new Map()
    const store = {
      get: (id, done) => done(null, ended.get(id)),
      set: (id, value, done) => done(null, ended.set(id, value)),
      destroy: (id, done) => done(null, ended.delete(id)),
    }
    const registered = (baseURL) => ({
      oidc_logout: { backchannel_logout_urls: [`${baseURL}/backchannel-logout`] },
    })
    await visit({ backchannelLogout: { store } }, registered, async ({ baseURL, browser, user }) => {
      const id = encodeURIComponent(user.sub)
      await management(`users/${id}/sessions`, 'DELETE')
      // What is due within a second has been done when this answers.
      await advance(1)
      assert.ok([...ended.keys()].some((key) => key.startsWith(`https://${domain}/|`)), 'nobody told the application')
      const page = await browser.open(`${baseURL}/`)
      assert(isLogin(page), `${page.status} ${page.url} ${page.body}`)
    })
  },
}

await run(cases)
