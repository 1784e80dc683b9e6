"""The asyncio half: sockets, logins, deadlines. It carries bytes and time to the pure session core, and back."""
