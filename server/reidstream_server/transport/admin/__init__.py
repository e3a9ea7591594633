"""AdminService: what the server does now, session by session, for operators.

service       the two methods: who may call, and a bounded share of the event loop
state         the whole server at a moment
messages      what the runtime counts -> messages
"""
