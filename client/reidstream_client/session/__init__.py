"""One camera's stream: what was agreed, which frames are where, and how it ends.

    opening         ask for a session, check what was agreed
    async_session   a session over one stream, for asyncio
    resuming        a session over as many streams as it takes
    sync_session    either of them, for programs without asyncio
    ledger          which frames wait, in which order they are answered; pure
    endings         answers that the client gives itself; what the end of a stream means

Looks into `frames` and `connection`; neither looks back.
"""
