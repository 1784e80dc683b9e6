"""Telling people what the ledger says, by webhooks, from the ledger itself.

    notice      entries -> what is said
    shapes      what is said -> a body, as JSON or for Slack
    signature   a body -> the headers that prove whose it is (Standard Webhooks)
    outbox      how far each webhook was told, durable
    sender      one attempt to deliver, bounded
    notifier    one task for each webhook: in order, again and again until it is told
    running     all of that for one configuration

Nothing that happens here delays or fails a statement: entries are durable before anybody is told of them, and who
cannot be told is told later.
"""
