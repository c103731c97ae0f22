// An OAuth 2 issuer that others wrote, on a free port until its input ends. The first line that it writes is its
// address. It also holds what it is told to: the statement's signature by the key that is given on the command line.
import { createPublicKey, verify } from 'node:crypto';
import { OAuth2Server } from 'oauth2-mock-server';

const server = new OAuth2Server();
await server.issuer.keys.generate('RS256');
const publicKey = createPublicKey(Buffer.from(process.argv[2], 'base64').toString());

server.service.on('beforeResponse', (response, request) => {
  const { assertion, grant_type: grant } = request.body;
  response.body.seen = { grant, scope: request.body.scope, authorization: request.headers.authorization };
  if (!assertion) return;
  const [head, body, signature] = assertion.split('.');
  const good = verify('sha256', Buffer.from(`${head}.${body}`), publicKey, Buffer.from(signature, 'base64url'));
  if (!good) {
    response.statusCode = 400;
    response.body = { error: 'invalid_grant', error_description: 'the signature is not good' };
  } else {
    response.body.claims = JSON.parse(Buffer.from(body, 'base64url').toString());
  }
});

await server.start(0, '127.0.0.1');
console.log(`http://127.0.0.1:${server.address().port}`);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
