-- Wake: leave a token unless there is one: one sleeper looks.
-- KEYS   1 wake
-- Reply  "woken"
wake(KEYS[1])
return 'woken'
