// An OpenID provider by panva's oidc-provider, told by OPTIONS what its clients and keys are. Any user name and password
// log in. It says `ready` when it listens, and counts what it was asked at /hits.
import { createPrivateKey } from 'node:crypto';

import Provider from 'oidc-provider';

const { port, clients, keys } = JSON.parse(process.env.OPTIONS);
const jwk = ({ pem, kid, alg }) => ({ ...createPrivateKey(pem).export({ format: 'jwk' }), kid, alg, use: 'sig' });
const issuer = `http://localhost:${port}`;

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: keys.map(jwk) },
  cookies: { keys: ['of the tests alone'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  ttl: { AccessToken: 60, ClientCredentials: 3600, IdToken: 3600, RefreshToken: 86400, Session: 86400, Grant: 86400, Interaction: 600 },
  rotateRefreshToken: true,
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  pkce: { required: () => true },
  enabledJWA: {
    idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'],
    idTokenEncryptionAlgValues: ['RSA-OAEP', 'RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A256KW'],
    idTokenEncryptionEncValues: ['A128GCM', 'A256GCM', 'A128CBC-HS256', 'A256CBC-HS512'],
    clientAuthSigningAlgValues: ['HS256', 'RS256', 'ES256'],
    dPoPSigningAlgValues: ['ES256', 'RS256', 'PS256'],
  },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none'],
  features: {
    introspection: { enabled: true },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    backchannelLogout: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    encryption: { enabled: true },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      // An API may end in the algorithm that its tokens are signed with.
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'read write',
        audience: resource,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: ['RS256', 'EdDSA'].find((alg) => resource.endsWith(`/${alg}`)) ?? 'ES256' } },
      }),
    },
  },
  findAccount: (ctx, sub) => ({
    accountId: sub,
    claims: () => ({ sub, name: 'Somebody', email: `${sub}@example.com`, email_verified: true }),
  }),
});

const hits = {};
provider.use(async (ctx, next) => {
  if (ctx.path === '/hits') {
    ctx.body = hits;
    return;
  }
  const { path } = ctx;
  await next();
  hits[path] ??= [];
  hits[path].push(ctx.status);
});
provider.listen(port, '127.0.0.1', () => console.log('ready'));
