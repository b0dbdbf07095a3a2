// @openfeature/flagd-core over vectors: one line of JSON with the answers, in their order.

import { FlagdCore } from '@openfeature/flagd-core';
import { given, say } from './talk.mjs';

const quiet = { error() {}, warn() {}, info() {}, debug() {} };

function answer({ flag, key, context }) {
  try {
    const core = new FlagdCore(undefined, quiet);
    core.setConfigurations(JSON.stringify({ flags: { [key]: flag } }));
    const told = core.resolveStringEvaluation(key, 'the default of the code', context, quiet);
    if (told.errorCode) return { error: told.errorCode };
    return { value: told.variant ? told.value : null, variant: told.variant ?? null, reason: told.reason };
  } catch (fault) {
    return { error: fault.code ?? String(fault) };
  }
}

say({ answers: given.cases.map(answer) });
