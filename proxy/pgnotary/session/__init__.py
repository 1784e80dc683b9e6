"""One client's conversation, without I/O: events in, actions out.

`Session.receive(event, now)` returns the actions that follow. What happens inside is written as flows: generators that
yield one step at a time (ask PostgreSQL, relay an answer, write to the ledger, wait for a decision) and read in the
order in which things become durable. However the bytes are cut, the actions are the same.
"""
