// Auth0's deploy CLI brings a tenant to what a directory says, and writes it down again.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

import { deploy, dump } from 'auth0-deploy-cli'

const { AUTH0_DOMAIN, AUTH0_MGMT_CLIENT_ID, AUTH0_MGMT_CLIENT_SECRET } = process.env
// It has its own idea of what this is for.
delete process.env.AUTH0_AUDIENCE
const config = {
  AUTH0_DOMAIN, AUTH0_CLIENT_ID: AUTH0_MGMT_CLIENT_ID, AUTH0_CLIENT_SECRET: AUTH0_MGMT_CLIENT_SECRET,
  AUTH0_ALLOW_DELETE: false,
}
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'deploy-'))

// Two of them were made when the provider was started with the same things in its directory.
const wanted = `
tenant: {friendly_name: Deployed, session_lifetime: 24}
resourceServers:
  - name: Orders
    identifier: https://orders.example/
    scopes: [{value: 'read:orders', description: Read orders}, {value: 'write:orders', description: Write orders}]
    signing_alg: RS256
    token_lifetime: 1800
    enforce_policies: true
    token_dialect: access_token_authz
clients:
  - name: Shop
    app_type: regular_web
    callbacks: ['https://shop.example/callback', 'https://shop.example/again']
    allowed_logout_urls: ['https://shop.example/']
    grant_types: [authorization_code, refresh_token]
    jwt_configuration: {alg: RS256, lifetime_in_seconds: 7200}
    refresh_token: {rotation_type: rotating, expiration_type: expiring, leeway: 0, token_lifetime: 2592000}
  - name: Worker
    app_type: non_interactive
    grant_types: [client_credentials]
clientGrants:
  - {client_id: Worker, audience: 'https://orders.example/', scope: ['read:orders']}
databases:
  - name: shop-users
    strategy: auth0
    enabled_clients: [Shop]
    options: {passwordPolicy: good, brute_force_protection: true}
roles:
  - name: Clerk
    description: Sells
    permissions: [{permission_name: 'read:orders', resource_server_identifier: 'https://orders.example/'}]
`

try {
  const input = path.join(folder, 'tenant.yaml')
  fs.writeFileSync(input, wanted)
  await deploy({ input_file: input, config })
  console.log('ok import')

  const output = path.join(folder, 'written')
  fs.mkdirSync(output)
  await dump({ format: 'yaml', output_folder: output, config })
  const written = fs.readFileSync(path.join(output, 'tenant.yaml'), 'utf8')
  for (const text of [
    'friendly_name: Deployed', 'identifier: https://orders.example/', 'token_lifetime: 1800', 'name: Shop',
    'https://shop.example/again', 'lifetime_in_seconds: 7200', 'client_id: Worker', 'name: shop-users',
    'passwordPolicy: good', 'name: Clerk', 'permission_name: read:orders',
  ]) {
    assert.ok(written.includes(text), `${text} is not in ${written}`)
  }
  assert.ok(!written.includes('client_secret'), 'a secret was written down')
  assert.equal(written.split('name: Shop').length, 2, 'the application is there twice')
  console.log('ok export')
} finally {
  fs.rmSync(folder, { recursive: true })
}
// Its clients keep connections open.
process.exit(0)
