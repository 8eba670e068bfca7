// Auth0's ManagementClient: everything of it that the Management API here has.

import assert from 'node:assert/strict'

import { AuthenticationClient, ManagementClient } from 'auth0'

import { client as register, run } from './browser.mjs'

const {
  AUTH0_DOMAIN: domain, AUTH0_CLIENT_ID, AUTH0_MGMT_CLIENT_ID, AUTH0_MGMT_CLIENT_SECRET, AUTH0_AUDIENCE, DEMO_USER,
} = process.env
const DATABASE = 'Username-Password-Authentication'

const api = new ManagementClient({
  domain, clientId: AUTH0_MGMT_CLIENT_ID, clientSecret: AUTH0_MGMT_CLIENT_SECRET,
})

const unique = (() => {
  let count = 0
  return (name) => `${name}-${process.pid}-${(count += 1)}`
})()

// Everything in a list, page by page, as the library walks it.
async function all(page) {
  const items = []
  for await (const item of page) items.push(item)
  return items
}

const missing = (errorCode) => (error) => {
  assert.equal(error.statusCode, 404)
  if (errorCode !== undefined) assert.equal(error.body.errorCode, errorCode)
  return true
}

const refused = (statusCode, errorCode) => (error) => {
  assert.deepEqual([error.statusCode, error.body.statusCode, error.body.errorCode], [statusCode, statusCode, errorCode])
  return true
}

async function user(more = {}) {
  return api.users.create({
    connection: DATABASE, email: `${unique('user')}@example.com`, password: 'Quite-l0ng-enough', ...more,
  })
}

// Tokens of a user, who typed a password.
async function tokens(email, password = 'Quite-l0ng-enough') {
  const made = await register({
    grant_types: ['http://auth0.com/oauth/grant-type/password-realm', 'refresh_token', 'password'],
  })
  const auth = new AuthenticationClient({ domain, clientId: made.client_id, clientSecret: made.client_secret })
  const { data } = await auth.oauth.passwordGrant({
    username: email, password, realm: DATABASE, scope: 'openid offline_access',
  })
  return { auth, made, ...data }
}

const cases = {
  async 'clients and their secrets'() {
    const made = await api.clients.create({
      name: unique('By the SDK'), app_type: 'regular_web', callbacks: ['https://app.example/callback'],
      jwt_configuration: { alg: 'RS256', lifetime_in_seconds: 600 }, client_metadata: { team: 'a' },
    })
    const read = await api.clients.get(made.client_id, { fields: 'name,callbacks', include_fields: true })
    assert.deepEqual(Object.keys(read).sort(), ['callbacks', 'name'])
    const changed = await api.clients.update(made.client_id, { description: 'changed', client_metadata: { unit: 'b' } })
    assert.deepEqual([changed.description, changed.client_metadata], ['changed', { team: 'a', unit: 'b' }])
    const rotated = await api.clients.rotateSecret(made.client_id)
    assert.notEqual(rotated.client_secret, made.client_secret)
    const found = await all(await api.clients.list({ per_page: 2 }))
    assert.ok(found.some((client) => client.client_id === made.client_id))
    assert.equal((await all(await api.clients.list({ is_global: true }))).length, 1)
    await api.clients.delete(made.client_id)
    await assert.rejects(api.clients.get(made.client_id), missing('inexistent_client'))
    await assert.rejects(api.clients.create({ name: 'x', nonsense: true }), refused(400, 'invalid_body'))
    await assert.rejects(api.clients.list({ per_page: 101 }), refused(400, 'invalid_query_string'))
  },

  async 'clients with keys of their own'() {
    const pair = () => crypto.subtle.generateKey(
      { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
      true, ['sign', 'verify'])
    const pem = async (kind, format, key) => {
      const text = Buffer.from(await crypto.subtle.exportKey(format, key)).toString('base64').match(/.{1,64}/g).join('\n')
      return `-----BEGIN ${kind} KEY-----\n${text}\n-----END ${kind} KEY-----\n`
    }
    const [first, second] = [await pair(), await pair()]
    const credential = async (pair, name) => ({
      credential_type: 'public_key', name, alg: 'RS256', pem: await pem('PUBLIC', 'spki', pair.publicKey),
    })
    const made = await api.clients.create({
      name: unique('With keys'), grant_types: ['client_credentials'], app_type: 'non_interactive',
      client_authentication_methods: { private_key_jwt: { credentials: [await credential(first, 'one')] } },
    })
    const [one] = made.client_authentication_methods.private_key_jwt.credentials
    assert.match(one.id, /^cred_/)
    await api.clientGrants.create({ client_id: made.client_id, audience: AUTH0_AUDIENCE, scope: ['read:things'] })
    const ask = async (pair) => new AuthenticationClient({
      domain, clientId: made.client_id, clientAssertionSigningKey: await pem('PRIVATE', 'pkcs8', pair.privateKey),
      clientAssertionSigningAlg: 'RS256',
    }).oauth.clientCredentialsGrant({ audience: AUTH0_AUDIENCE })
    assert.equal((await ask(first)).data.token_type, 'Bearer')
    await assert.rejects(ask(second), { error: 'invalid_client' })

    // The second key is added, both count, and the first one goes.
    const two = await api.clients.credentials.create(made.client_id, await credential(second, 'two'))
    assert.deepEqual(two.name, 'two')
    await assert.rejects(ask(second), { error: 'invalid_client' })
    await api.clients.update(made.client_id, {
      client_authentication_methods: { private_key_jwt: { credentials: [{ id: one.id }, { id: two.id }] } },
    })
    await ask(first)
    await ask(second)
    assert.equal((await api.clients.credentials.list(made.client_id)).length, 2)
    await api.clients.update(made.client_id, {
      client_authentication_methods: { private_key_jwt: { credentials: [{ id: two.id }] } },
    })
    await assert.rejects(ask(first), { error: 'invalid_client' })
    await api.clients.credentials.delete(made.client_id, one.id)
    await assert.rejects(api.clients.credentials.get(made.client_id, one.id), missing())
    const until = new Date(Date.now() + 3_600_000).toISOString()
    const dated = await api.clients.credentials.update(made.client_id, two.id, { expires_at: until })
    assert.equal(Date.parse(dated.expires_at), Date.parse(until))
    await ask(second)
  },

  async 'APIs and grants'() {
    const identifier = `https://${unique('api')}.example/v1?x=1`
    const made = await api.resourceServers.create({
      name: 'Orders', identifier, scopes: [{ value: 'read:orders' }, { value: 'write:orders', description: 'Write' }],
      signing_alg: 'PS256',
    })
    assert.equal((await api.resourceServers.get(identifier)).id, made.id, 'by the identifier')
    const changed = await api.resourceServers.update(made.id, { token_lifetime: 600, allow_offline_access: true })
    assert.deepEqual([changed.token_lifetime, changed.allow_offline_access], [600, true])
    assert.ok((await all(await api.resourceServers.list())).some((found) => found.identifier === identifier))
    const named = await all(await api.resourceServers.list({ identifiers: [identifier, AUTH0_AUDIENCE] }))
    assert.deepEqual(named.map((found) => found.identifier).sort(), [identifier, AUTH0_AUDIENCE].sort())
    const grant = await api.clientGrants.create({
      client_id: AUTH0_CLIENT_ID, audience: identifier, scope: ['read:orders'],
    })
    assert.match(grant.id, /^cgr_/)
    const again = { client_id: AUTH0_CLIENT_ID, audience: identifier, scope: [] }
    await assert.rejects(api.clientGrants.create(again), refused(409, 'resource_conflict'))
    await api.clientGrants.update(grant.id, { scope: ['read:orders', 'write:orders'] })
    const [found] = await all(await api.clientGrants.list({ audience: identifier, take: 50 }))
    assert.deepEqual(found.scope, ['read:orders', 'write:orders'])
    await api.clientGrants.delete(grant.id)
    await api.resourceServers.delete(made.id)
    await assert.rejects(api.resourceServers.get(made.id), missing('inexistent_resource_server'))
  },

  async 'connections'() {
    const made = await api.connections.create({
      name: unique('shoppers'), strategy: 'auth0', options: { passwordPolicy: 'low' }, metadata: { shop: 'yes' },
    })
    assert.match(made.id, /^con_/)
    await api.connections.clients.update(made.id, [{ client_id: AUTH0_CLIENT_ID, status: true }])
    const clients = await all(await api.connections.clients.get(made.id, { take: 10 }))
    assert.deepEqual(clients, [{ client_id: AUTH0_CLIENT_ID }])
    const [found] = await all(await api.connections.list({ name: made.name, strategy: ['samlp', 'auth0'], take: 1 }))
    assert.equal(found.id, made.id)
    const mine = await all(await api.clients.connections.get(AUTH0_CLIENT_ID, { take: 10 }))
    assert.ok(mine.some((connection) => connection.id === made.id))
    await api.connections.update(made.id, { options: { passwordPolicy: 'good' }, display_name: 'Shop' })
    const changed = await api.connections.get(made.id)
    assert.deepEqual([changed.options.passwordPolicy, changed.display_name], ['good', 'Shop'])
    const email = `${unique('shopper')}@example.com`
    const shopper = await user({ connection: made.name, email })
    await api.connections.users.deleteByEmail(made.id, { email })
    await assert.rejects(api.users.get(shopper.user_id), missing('inexistent_user'))
    await api.connections.delete(made.id)
    await assert.rejects(api.connections.get(made.id), missing('inexistent_connection'))
  },

  async 'users and their search'() {
    const made = await user({
      given_name: 'Ada', user_metadata: { city: 'London' }, app_metadata: { plan: 'gold' }, email_verified: true,
    })
    assert.match(made.user_id, /^auth0\|/)
    await assert.rejects(user({ email: made.email }), refused(409, 'auth0_idp_error'))
    const changed = await api.users.update(made.user_id, { user_metadata: { age: 36 }, family_name: 'Lovelace' })
    assert.deepEqual(changed.user_metadata, { city: 'London', age: 36 })
    for (const q of [
      `email:"${made.email}"`, `user_id:"${made.user_id}"`, `given_name:Ada AND email:${made.email.split('@')[0]}*`,
      `app_metadata.plan:gold AND user_metadata.age:[30 TO 40] AND email:"${made.email}"`,
      `email:"${made.email}" AND NOT blocked:true`, `_exists_:family_name AND email:"${made.email}"`,
    ]) {
      const found = await all(await api.users.list({ q, search_engine: 'v3', sort: 'created_at:-1' }))
      assert.deepEqual(found.map((user) => user.user_id), [made.user_id], q)
    }
    await assert.rejects(api.users.list({ q: 'email:(', search_engine: 'v3' }), refused(400, 'invalid_query_string'))
    const byEmail = await api.users.listUsersByEmail({ email: made.email })
    assert.deepEqual(byEmail.map((user) => user.user_id), [made.user_id])
    await api.users.update(made.user_id, { blocked: true })
    await assert.rejects(tokens(made.email), { error: 'invalid_grant' })
    await api.users.delete(made.user_id)
    await assert.rejects(api.users.get(made.user_id), missing('inexistent_user'))
    await assert.rejects(api.users.create({ connection: DATABASE, email: 'no address', password: 'x' }),
      refused(400, 'invalid_body'))
  },

  async 'linked users'() {
    const [first, second] = [await user(), await user()]
    const [provider, id] = second.user_id.split('|')
    const linked = await api.users.identities.link(first.user_id, { provider, user_id: id })
    assert.deepEqual(linked.map((identity) => identity.user_id), [first.user_id.split('|')[1], id])
    await assert.rejects(api.users.get(second.user_id), missing('inexistent_user'))
    assert.equal((await api.users.get(first.user_id)).identities.length, 2)
    const left = await api.users.identities.delete(first.user_id, provider, id)
    assert.equal(left.length, 1)
    assert.equal((await api.users.get(second.user_id)).identities.length, 1)
  },

  async 'roles and permissions'() {
    const made = await api.roles.create({ name: unique('Clerk'), description: 'Sees things' })
    const permissions = [{ permission_name: 'read:things', resource_server_identifier: AUTH0_AUDIENCE }]
    await api.roles.permissions.add(made.id, { permissions })
    const held = await all(await api.roles.permissions.list(made.id, { per_page: 10 }))
    assert.deepEqual(held.map((permission) => permission.permission_name), ['read:things'])
    const clerk = await user()
    await api.users.roles.assign(clerk.user_id, { roles: [made.id] })
    const roles = await all(await api.users.roles.list(clerk.user_id))
    assert.deepEqual(roles.map((role) => role.id), [made.id])
    const members = await all(await api.roles.users.list(made.id))
    assert.deepEqual(members.map((member) => member.user_id), [clerk.user_id])
    const inherited = await all(await api.users.permissions.list(clerk.user_id))
    assert.equal(inherited[0].permission_name, 'read:things')
    const direct = [{ permission_name: 'write:things', resource_server_identifier: AUTH0_AUDIENCE }]
    await api.users.permissions.create(clerk.user_id, { permissions: direct })
    assert.equal((await all(await api.users.permissions.list(clerk.user_id))).length, 2)
    await api.users.permissions.delete(clerk.user_id, { permissions: direct })
    await api.users.roles.delete(clerk.user_id, { roles: [made.id] })
    assert.equal((await all(await api.users.permissions.list(clerk.user_id))).length, 0)
    await api.roles.users.assign(made.id, { users: [clerk.user_id] })
    await api.roles.permissions.delete(made.id, { permissions })
    assert.equal((await api.roles.update(made.id, { description: 'changed' })).description, 'changed')
    assert.ok((await all(await api.roles.list({ name_filter: made.name }))).some((role) => role.id === made.id))
    await api.roles.delete(made.id)
    await assert.rejects(api.roles.get(made.id), missing())
  },

  async 'tickets'() {
    const made = await user()
    const verify = await api.tickets.verifyEmail({ user_id: made.user_id, result_url: 'https://app.example/done' })
    assert.ok(verify.ticket.startsWith(`https://${domain}/`), verify.ticket)
    await fetch(verify.ticket, { redirect: 'manual' })
    const change = await api.tickets.changePassword({ user_id: made.user_id, ttl_sec: 60, mark_email_as_verified: true })
    assert.ok(change.ticket.startsWith(`https://${domain}/`), change.ticket)
    await assert.rejects(api.tickets.verifyEmail({ user_id: 'auth0|nobody' }), missing('inexistent_user'))
  },

  async 'jobs'() {
    const [connection] = await all(await api.connections.list({ name: DATABASE, take: 1 }))
    const name = unique('imported')
    const finished = async (id) => {
      for (let tries = 0; tries < 100; tries += 1) {
        const job = await api.jobs.get(id)
        if (job.status === 'completed' || job.status === 'failed') return job
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      throw new Error('the job does not end')
    }
    const users = [
      // A hash of "secret password" that another program made.
      { email: `${name}@example.com`, email_verified: true, given_name: 'Imported', user_id: name,
        password_hash: '$2b$10$PyWp94ZFrTJXGQR6Y58HsuaQ1JHOxGWxLghiZAk0uallm2OeoyE1.' },
      { email: 'no address' },
    ]
    const begun = await api.jobs.usersImports.create({
      users: new Blob([JSON.stringify(users)], { type: 'application/json' }), connection_id: connection.id,
      external_id: 'from a test', upsert: false,
    })
    assert.deepEqual([begun.type, begun.external_id], ['users_import', 'from a test'])
    const done = await finished(begun.id)
    assert.equal(done.status, 'completed')
    assert.deepEqual([done.summary.total, done.summary.inserted, done.summary.failed], [2, 1, 1])
    const errors = await api.jobs.errors.get(begun.id)
    assert.equal(errors.length, 1)
    assert.equal((await api.users.get(`auth0|${name}`)).given_name, 'Imported')
    for (const time of ['the hash that was imported', 'the one that took its place']) {
      const { id_token } = await tokens(`${name}@example.com`, 'secret password')
      assert.ok(id_token, time)
    }
    await assert.rejects(tokens(`${name}@example.com`, 'another password'), { error: 'invalid_grant' })

    const exported = await api.jobs.usersExports.create({
      connection_id: connection.id, format: 'csv', fields: [{ name: 'user_id' }, { name: 'email', export_as: 'Address' }],
    })
    const ready = await finished(exported.id)
    assert.equal(ready.status, 'completed')
    const file = await fetch(ready.location)
    const text = await file.text()
    assert.ok(text.startsWith('"user_id","Address"') || text.startsWith('user_id,Address'), text.slice(0, 80))
    assert.ok(text.includes(`${name}@example.com`))

    const made = await user()
    const mail = await api.jobs.verificationEmail.create({ user_id: made.user_id })
    assert.equal(mail.type, 'verification_email')
    await finished(mail.id)
    await assert.rejects(api.jobs.get('job_0000000000000001'), missing('inexistent_job'))
  },

  async 'logs'() {
    const made = await user()
    await tokens(made.email)
    const found = await all(await api.logs.list({ search: `user_id:"${made.user_id}" AND type:sepft`, per_page: 10 }))
    assert.equal(found.length, 1)
    assert.equal((await api.logs.get(found[0].log_id)).type, 'sepft')
    const own = await all(await api.users.logs.list(made.user_id))
    assert.ok(own.some((event) => event.type === 'sepft'))
    await assert.rejects(api.logs.get('900000000000000000000000000000000000000000000000000001'), missing())
  },

  async 'sessions, refresh tokens and grants'() {
    const made = await user()
    const first = await tokens(made.email)
    const [token] = await all(await api.users.refreshToken.list(made.user_id, { take: 10 }))
    assert.equal(token.client_id, first.made.client_id)
    assert.equal((await api.refreshTokens.get(token.id)).user_id, made.user_id)
    await api.refreshTokens.delete(token.id)
    await assert.rejects(first.auth.oauth.refreshTokenGrant({ refresh_token: first.refresh_token }),
      { error: 'invalid_grant' })
    const second = await tokens(made.email)
    await api.users.refreshToken.delete(made.user_id)
    await assert.rejects(second.auth.oauth.refreshTokenGrant({ refresh_token: second.refresh_token }),
      { error: 'invalid_grant' })
    assert.deepEqual(await all(await api.users.sessions.list(made.user_id, { take: 10 })), [])
    await api.users.sessions.delete(made.user_id)
    await assert.rejects(api.sessions.get('sid-of-nobody'), missing())
    assert.deepEqual(await all(await api.userGrants.list({ user_id: made.user_id })), [])
    await api.userGrants.deleteByUserId({ user_id: made.user_id })
    await assert.rejects(api.userGrants.delete('cgr_of_nobody'), missing())
    await api.users.revokeAccess(made.user_id, {})
  },

  async 'blocks of users'() {
    const made = await user()
    assert.deepEqual((await api.userBlocks.list(made.user_id)).blocked_for, [])
    assert.deepEqual((await api.userBlocks.listByIdentifier({ identifier: made.email })).blocked_for, [])
    await api.userBlocks.delete(made.user_id)
    await api.userBlocks.deleteByIdentifier({ identifier: made.email })
  },

  async 'what is not here says so without being tried again'() {
    for (const call of [
      () => api.organizations.list(), () => api.actions.triggers.list(), () => api.logStreams.list(),
      () => api.guardian.factors.list(), () => api.stats.getActiveUsersCount(),
    ]) {
      await assert.rejects(call, refused(403, 'insufficient_scope'))
    }
    assert.deepEqual(await all(await api.actions.list()), [])
    const stranger = new ManagementClient({ domain, token: 'not a token' })
    await assert.rejects(stranger.clients.list(), (error) => error.statusCode === 401)
    const found = await all(await api.users.list({ q: `email:"${DEMO_USER}"`, search_engine: 'v3' }))
    assert.equal(found.length, 1)
  },

  async 'the tenant and its keys'() {
    const before = await api.tenants.settings.get()
    const changed = await api.tenants.settings.update({
      friendly_name: 'Renamed', session_lifetime: 24, flags: { enable_client_connections: false },
    })
    assert.deepEqual([changed.friendly_name, changed.session_lifetime], ['Renamed', 24])
    await api.tenants.settings.update({ session_lifetime: before.session_lifetime })
    await assert.rejects(api.tenants.settings.update({ session_lifetime: -1 }), refused(400, 'invalid_body'))
    const old = await api.keys.signing.list()
    const current = old.find((key) => key.current && key.alg !== 'HS256')
    const rotated = await api.keys.signing.rotate()
    assert.ok(old.some((key) => key.next && key.kid === rotated.kid), 'the next one is the current one')
    assert.equal((await api.keys.signing.get(current.kid)).previous, true)
    const revoked = await api.keys.signing.revoke(current.kid)
    assert.equal(revoked.kid, current.kid)
    // The token of every call before is signed by it.
    await assert.rejects(api.tenants.settings.get(), (error) => error.statusCode === 401)
    const fresh = new ManagementClient({
      domain, clientId: AUTH0_MGMT_CLIENT_ID, clientSecret: AUTH0_MGMT_CLIENT_SECRET,
    })
    await assert.rejects(fresh.keys.signing.get('nobody'), missing('inexistent_signing_key'))
  },
}

await run(cases)
