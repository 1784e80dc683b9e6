"""How approvers reach the proxy: the API on its Unix socket, the client of it, and the approver's side of trust.

`api` shows what lies on the desk and takes signed decisions; `client` asks it. What comes over the socket is believed
only as far as `papers` and `head` recompute it from the bytes that a signature will bind.
"""
