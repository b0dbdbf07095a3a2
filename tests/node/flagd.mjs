// @openfeature/flagd-provider, in-process: from an exported file, or from the gRPC sync door.

import { createRequire } from 'node:module';
import { FlagdProvider } from '@openfeature/flagd-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { asked, details, given, say } from './talk.mjs';

if (given.authorization) {
  // The provider has no option for a header: it is added here, as a proxy beside the service would.
  const { Metadata } = createRequire(import.meta.url)('@grpc/grpc-js');
  const plain = Metadata.prototype.toHttp2Headers;
  Metadata.prototype.toHttp2Headers = function () {
    return { ...plain.call(this), authorization: given.authorization };
  };
}
for (const [name, event] of Object.entries(ProviderEvents)) {
  OpenFeature.addHandler(event, (told) => say({ event: name, changed: told?.flagsChanged ?? null }));
}
const source = given.file ? { offlineFlagSourcePath: given.file } : { host: '127.0.0.1', port: given.port, tls: false };
try {
  await OpenFeature.setProviderAndWait(new FlagdProvider({ resolverType: 'in-process', deadlineMs: given.deadline ?? 60_000, ...source }));
} catch (fault) {
  say({ failed: String(fault.message ?? fault) });
}
const client = OpenFeature.getClient();
say({ ready: true, status: client.providerStatus });
await asked((wanted) => details(client, wanted));
process.exit(0);
