// A browser as far as the provider's pages need one: cookies, redirects, one form a page.

import assert from 'node:assert/strict'

const unescape = (text) =>
  text.replaceAll('&quot;', '"').replaceAll('&#34;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>').replaceAll('&#38;', '&').replaceAll('&amp;', '&')

export class Browser {
  cookies = new Map()

  // `stop` is the client's callback: what leads there is answered and not followed.
  constructor(stop) {
    this.stop = stop
  }

  async open(url, options = {}) {
    for (let hops = 0; hops < 12; hops += 1) {
      const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
      const headers = { ...options.headers, cookie }
      const answer = await fetch(url, { ...options, headers, redirect: 'manual' })
      for (const line of answer.headers.getSetCookie()) {
        const [name, value] = line.split(';')[0].split(/=(.*)/s)
        if (/max-age=0/i.test(line)) this.cookies.delete(name)
        else this.cookies.set(name, value)
      }
      const location = answer.headers.get('location')
      if (location === null) return { url, status: answer.status, body: await answer.text() }
      await answer.arrayBuffer()
      url = new URL(location, url).href
      if (url.startsWith(this.stop)) return { url, status: answer.status, body: '' }
      options = {}
    }
    throw new Error(`too many redirects, the last one to ${url}`)
  }

  // Sends the page's form with its hidden fields and these.
  async submit(page, fields) {
    const form = /<form [^>]*method="post" action="([^"]*)"/.exec(page.body)
    assert(form, `no form: ${page.status} ${page.body}`)
    const values = new URLSearchParams()
    for (const input of page.body.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)) {
      values.append(unescape(input[1]), unescape(input[2]))
    }
    for (const [name, value] of Object.entries(fields)) values.set(name, value)
    const target = new URL(unescape(form[1]), page.url).href
    if (target.startsWith(this.stop)) return { url: target, form: values, status: 200, body: '' }
    return this.open(target, { method: 'POST', body: values })
  }

  // Goes through login and consent pages, as far as they come.
  async through(url, user, password) {
    let page = await this.open(url)
    for (let pages = 0; pages < 4; pages += 1) {
      if (page.body.includes('id="submit-login"')) {
        page = await this.submit(page, { username: user, password })
      } else if (page.body.includes('id="allow"')) {
        page = await this.submit(page, { action: 'accept' })
      } else if (page.body.includes(`action="${this.stop}`)) {
        return this.submit(page, {})
      } else {
        return page
      }
    }
    return page
  }
}

// Runs every case and says what became of each; fails at the end where one did.
export async function run(cases) {
  let failed = 0
  for (const [name, body] of Object.entries(cases)) {
    try {
      await body()
      console.log(`ok ${name}`)
    } catch (error) {
      failed += 1
      console.log(`failed ${name}: ${error.stack} ${JSON.stringify(error.cause ?? null)}`)
    }
  }
  process.exit(failed === 0 ? 0 : 1)
}

// A call of the Management API.
export async function management(path, method, body) {
  const { ISSUER, AUTH0_MGMT_CLIENT_ID, AUTH0_MGMT_CLIENT_SECRET } = process.env
  management.token ??= await fetch(`${ISSUER}oauth/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      grant_type: 'client_credentials',
      client_id: AUTH0_MGMT_CLIENT_ID,
      client_secret: AUTH0_MGMT_CLIENT_SECRET,
      audience: `${ISSUER}api/v2/`,
    }),
  }).then((answer) => answer.json())
  const headers = {
    authorization: `Bearer ${management.token.access_token}`,
    'content-type': 'application/json',
  }
  const answer = await fetch(`${ISSUER}api/v2/${path}`, { method, headers, body: JSON.stringify(body) })
  const text = await answer.text()
  assert(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

// Makes a client that users of the demo connection can log in at.
export async function client(body) {
  const callbacks = [process.env.CALLBACK]
  const made = await management('clients', 'POST', { name: 'Interop', oidc_conformant: true, callbacks, ...body })
  for (const connection of await management('connections', 'GET')) {
    const enabled_clients = [...connection.enabled_clients, made.client_id]
    await management(`connections/${connection.id}`, 'PATCH', { enabled_clients })
  }
  return made
}

// Moves the provider's clock, so that nobody waits.
export async function advance(seconds) {
  const admin = Number(new URL(process.env.ISSUER).port) - 9400 + 9180
  const answer = await fetch(`http://127.0.0.1:${admin}/dev/clock`, {
    method: 'POST',
    headers: { 'x-api-key': process.env.ADMIN_KEY, 'content-type': 'application/json' },
    body: JSON.stringify({ advance: seconds }),
  })
  assert(answer.ok, `${answer.status}`)
}
