"""Rules: flagd's JSONLogic, compiled. In: a rule and a context. Out: what the rule answers."""
