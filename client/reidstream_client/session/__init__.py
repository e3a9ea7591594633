"""One camera's stream: what was agreed, which frames are where, and how it ends.

    requests        what is asked for, as messages, checked
    opening         ask for a session, and check what was agreed
    opener          opens the streams of a session, one after the other
    async_session   a session over one stream, for asyncio
    resuming        a session over as many streams as it takes
    sync_session    either of them, for programs without asyncio
    block           the block in which a session is open
    ledger          which frames wait, and in which order they are answered; pure
    open_frames     the frames of a stream that are not done
    kept_frames     the frames that a session keeps to send them again
    feeding         frames and ends of tracks, on their way into one stream after the other
    preparing       a frame as the caller gives it, made ready to go
    outbox, inbox   frames on their way out; answers that wait for the caller
    track_book      what another server must be told to go on with a session's tracks
    ending_tracks   tracks that the caller ends, at their place between the frames
    local_answers   answers that the client gives by itself; how long others are worth waiting for
    spans           the spans of frames, where the client traces
    alarm           one timer for all that a session waits for
    patience        how long a session goes on without success, and after which errors
    endings         what the end of a stream means, and how a client ends it

Looks into `frames` and `connection`; neither looks back.
"""
