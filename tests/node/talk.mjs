// How a script talks with its test: one JSON line out for each thing that happens, one in for each thing to do.

import { createInterface } from 'node:readline';

export function say(told) {
  process.stdout.write(JSON.stringify(told) + '\n');
}

export const given = JSON.parse(process.argv[2]);

export async function asked(act) {
  for await (const line of createInterface({ input: process.stdin })) {
    const wanted = JSON.parse(line);
    if (wanted.do === 'close') break;
    say({ did: wanted.do, ...(await act(wanted)) });
  }
}

const KINDS = { boolean: 'Boolean', string: 'String', integer: 'Number', float: 'Number', number: 'Number', object: 'Object' };

export async function details(client, { flag, kind, fallback, context }) {
  const ask = client[`get${KINDS[kind]}Details`].bind(client);
  const found = await (context === undefined ? ask(flag, fallback) : ask(flag, fallback, context));
  const { value, variant = null, reason = null, errorCode = null, errorMessage = null, flagMetadata } = found;
  return { value, variant, reason, errorCode, errorMessage, metadata: flagMetadata };
}
