// @openfeature/ofrep-web-provider: asks for all flags at once, polls, and listens where there is an EventSource.

import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { EventSource } from 'eventsource';
import { asked, details, given, say } from './talk.mjs';

if (given.stream) globalThis.EventSource = EventSource;

const fetchAndTell = async (input, init) => {
  const request = new Request(input, init);
  const answer = await fetch(request);
  say({
    request: new URL(request.url).pathname,
    query: new URL(request.url).search,
    status: answer.status,
    ifNoneMatch: request.headers.get('If-None-Match'),
    etag: answer.headers.get('ETag'),
  });
  return answer;
};

for (const [name, event] of Object.entries(ProviderEvents)) {
  OpenFeature.addHandler(event, (told) => say({ event: name, changed: told?.flagsChanged ?? null }));
}
const provider = new OFREPWebProvider({
  baseUrl: given.url,
  headers: Object.entries(given.headers ?? {}),
  pollInterval: given.poll ?? 150,
  cacheMode: 'disabled',
  changeDetection: given.stream ? 'sse' : 'polling',
  fetchImplementation: fetchAndTell,
});
await OpenFeature.setContext(given.context ?? {});
try {
  await OpenFeature.setProviderAndWait(provider);
} catch (fault) {
  say({ failed: String(fault.message ?? fault), code: fault.code ?? null });
}
const client = OpenFeature.getClient();
say({ ready: true, status: client.providerStatus });
await asked(async (wanted) => {
  if (wanted.do === 'context') await OpenFeature.setContext(wanted.context);
  if (wanted.do === 'status') return { status: client.providerStatus };
  return wanted.flag ? details(client, wanted) : {};
});
await OpenFeature.close();
process.exit(0);
