// @openfeature/ofrep-provider under @openfeature/server-sdk: one HTTP call per evaluation.

import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OpenFeature } from '@openfeature/server-sdk';
import { asked, details, given, say } from './talk.mjs';

const headers = Object.entries(given.headers ?? {});
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: given.url, headers }));
const client = OpenFeature.getClient();
say({ ready: true });
await asked((wanted) => details(client, wanted));
await OpenFeature.close();
process.exit(0);
