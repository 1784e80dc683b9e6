"""What auditors do with a ledger: search it, export it, replay it, report on it.

Readers over a live ledger or an exported folder enter, stories and texts leave. Nothing here writes to a ledger, and
nothing here vouches for one: that is `pgnotary.verify`. Texts may hold any character that a client ever sent; whoever
shows them to a person escapes them line by line.
"""
