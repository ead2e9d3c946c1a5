//! The end of a channel that sends commands.

use core::ffi::{c_char, c_void};
use core::time::Duration;

use shmem_channel::{PendingCall, Client, Received, FOREVER};

use crate::channel::{options, shmr_call, shmr_channel_options};
use crate::handle::{bytes, bytes_mut, c_string, close, handle, place};
use crate::on_session::{ask_open, open_on, with_open, OnSession};
use crate::platform::timeout;
use crate::session::shmr_session;
use crate::status::shmr_status::{SHMR_BUFFER_TOO_SHORT, SHMR_OK, SHMR_PEER_GONE, SHMR_RESTARTED};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_client - the end of a channel that sends commands and receives results
/// @error: why the last call on it failed
#[repr(C, align(128))]
pub struct shmr_client {
    pub error: shmr_error,
    opaque: [u64; 172],
}

handle!(shmr_client, b"clnt", OnSession<Client<'static>>);

/// shmr_client_open() - open the end of a channel that sends commands
/// @client:  to be opened
/// @session: the session, which stays where it is until @client is closed
/// @name:    the channel's, 1 to 24 bytes
/// @options: capacities, or NULL for 16 KiB each way
///
/// Whoever comes first, client or server, creates the channel.
///
/// Return: SHMR_OK; SHMR_EINVAL, also for a name or a capacity that no channel has;
///         SHMR_LENGTH, the channel is there with another capacity; SHMR_KIND or
///         SHMR_COLLISION, its name is used for something else; SHMR_TABLE_FULL;
///         SHMR_OUT_OF_SPACE; SHMR_CONTENDED; SHMR_NO_RMW; SHMR_CLAIMED, a partition that
///         is not known to be gone has this end, and the error's value is that one;
///         SHMR_EVICTED; SHMR_REFORMATTED; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_open(
    client: *mut shmr_client,
    session: *const shmr_session,
    name: *const c_char,
    options: *const shmr_channel_options,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open_on(client, session, |session| {
            let name = c_string(name, Argument::Name)?;
            Ok(self::options(options)?.client(session, name)?)
        })
    }
}

/// shmr_client_max_len() - bytes of the longest command
/// @client: a client
///
/// Return: 0 if @client is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_max_len(client: *const shmr_client) -> usize {
    // SAFETY: the caller's.
    unsafe { ask_open(client, 0, Client::max_len) }
}

/// shmr_client_discarded() - messages that this end never received
/// @client: a client
///
/// Return: those of a server that was restarted, and answers to calls that were given up;
///         counts on modulo 2^32. 0 if @client is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_discarded(client: *const shmr_client) -> u32 {
    // SAFETY: the caller's.
    unsafe { ask_open(client, 0, Client::discarded) }
}

/// shmr_client_server_is_gone() - whether the server is gone, or has left the channel
/// @client: a client
///
/// Return: true after this client has heard of a server, and that one is gone or has left;
///         else false.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_server_is_gone(client: *const shmr_client) -> bool {
    // SAFETY: the caller's.
    unsafe { ask_open(client, false, Client::server_is_gone) }
}

/// shmr_client_send() - send a command that is not answered
/// @client:  a client
/// @command: its bytes, outside the region
/// @len:     how many, at most shmr_client_max_len(); may be 0
/// @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
///
/// A command that is sent before there is a server waits for the first one.
///
/// Return: SHMR_OK; SHMR_TIMED_OUT, there was no room; SHMR_RESTARTED, the server was
///         restarted and nothing was sent: reported once, the next command is for its new
///         incarnation; SHMR_PEER_GONE, nobody is left to make room; SHMR_EINVAL;
///         SHMR_TOO_LONG; SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_send(
    client: *mut shmr_client,
    command: *const c_void,
    len: usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(client, |own, _| {
            let command = bytes(command, len, Argument::Message)?;
            Ok(own.send(command, self::timeout(timeout))?)
        })
    }
}

/// shmr_client_recv() - receive a message of the server that is no answer
/// @client:  a client
/// @buffer:  where its bytes go
/// @size:    room there
/// @len:     bytes of the message
/// @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
///
/// Answers to calls that were not finished are passed over.
///
/// Return: SHMR_OK; SHMR_TIMED_OUT; SHMR_RESTARTED, the server was restarted, and what
///         follows is from its new incarnation: reported once; SHMR_EINVAL;
///         SHMR_BUFFER_TOO_SHORT, the message stays; SHMR_BAD_MESSAGE; SHMR_EVICTED,
///         SHMR_REFORMATTED or SHMR_CORRUPT: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_recv(
    client: *mut shmr_client,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(client, |own, _| {
            let place = place(len, Argument::Len)?;
            let buffer = bytes_mut(buffer, size, Argument::Buffer)?;
            match own.recv(buffer, self::timeout(timeout))? {
                Received::Message(len) => place.write(len),
                Received::PeerRestarted => return Err(Fault::new(SHMR_RESTARTED)),
            };
            Ok(())
        })
    }
}

/// shmr_client_call() - send a command and wait for its answer
/// @client:      a client
/// @command:     its bytes, outside the region
/// @command_len: how many, at most shmr_client_max_len(); may be 0
/// @answer:      where the answer goes; may be where @command is
/// @size:        room there
/// @len:         bytes of the answer
/// @timeout:     nanoseconds for all of it; SHMR_FOREVER is no limit
///
/// A call ends as soon as it is known that its server is gone. How soon that is, the
/// session's platform decides.
///
/// Return: SHMR_OK; SHMR_TIMED_OUT and SHMR_PEER_GONE, the command may have been carried out
///         or not; SHMR_RESTARTED, the server was restarted, and there will be no answer;
///         SHMR_MESSAGE_FIRST, the answer is passed over when it comes: to have both, use
///         shmr_client_start_call(); SHMR_EINVAL; SHMR_TOO_LONG, the command can never be
///         sent; SHMR_BUFFER_TOO_SHORT, the answer is given up; SHMR_BAD_MESSAGE;
///         SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_call(
    client: *mut shmr_client,
    command: *const c_void,
    command_len: usize,
    answer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(client, |own, session| {
            let place = place(len, Argument::Len)?;
            // Looked at before anything is sent. Not kept: the command may be there.
            bytes_mut(answer, size, Argument::Buffer)?;
            let timeout = self::timeout(timeout);
            let start = session.platform().now();
            let call = own.start_call(bytes(command, command_len, Argument::Message)?, timeout)?;
            let spent = session.platform().now().saturating_sub(start);
            let left = match timeout {
                FOREVER => FOREVER,
                timeout => timeout.saturating_sub(spent),
            };
            let answer = bytes_mut(answer, size, Argument::Buffer)?;
            place.write(own.finish_call(call, answer, left)?);
            Ok(())
        })
    }
}

/// shmr_client_start_call() - send a command without waiting for its answer
/// @client:  a client
/// @command: its bytes, outside the region
/// @len:     how many, at most shmr_client_max_len(); may be 0
/// @call:    what to finish: shmr_client_finish_call()
/// @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
///
/// Up to 64 calls may wait for their answers at the same time.
///
/// Return: as shmr_client_send().
#[no_mangle]
pub unsafe extern "C" fn shmr_client_start_call(
    client: *mut shmr_client,
    command: *const c_void,
    len: usize,
    call: *mut shmr_call,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(client, |own, _| {
            let place = place(call, Argument::Call)?;
            place.write(shmr_call::NONE);
            let command = bytes(command, len, Argument::Message)?;
            let call = own.start_call(command, self::timeout(timeout))?;
            place.write(shmr_call::from_word(call.to_word()));
            Ok(())
        })
    }
}

/// shmr_client_finish_call() - wait for the answer to a call
/// @client:  the client that started it
/// @call:    the call; zeroed when there is nothing more to wait for
/// @answer:  where the answer goes
/// @size:    room there
/// @len:     bytes of the answer
/// @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
///
/// Calls whose answers the server gave before this one and that are not finished are given
/// up: their answers are passed over.
///
/// Return: SHMR_OK; SHMR_TIMED_OUT, the call can be finished later; SHMR_MESSAGE_FIRST,
///         after shmr_client_recv() the call can be finished; SHMR_PEER_GONE or
///         SHMR_RESTARTED, there will be no answer; SHMR_EINVAL; SHMR_BUFFER_TOO_SHORT, the
///         answer is given up; SHMR_BAD_MESSAGE, the call can be finished later;
///         SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_finish_call(
    client: *mut shmr_client,
    call: *mut shmr_call,
    answer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(client, |own, _| {
            let call = &mut *place(call, Argument::Call)?.as_mut_ptr();
            let place = place(len, Argument::Len)?;
            let answer = bytes_mut(answer, size, Argument::Buffer)?;
            let outcome = finish(own, *call, answer, self::timeout(timeout));
            let ended = outcome.map_or_else(|fault| fault.status, |_| SHMR_OK);
            if let SHMR_OK | SHMR_PEER_GONE | SHMR_RESTARTED | SHMR_BUFFER_TOO_SHORT = ended {
                *call = shmr_call::NONE;
            }
            place.write(outcome?);
            Ok(())
        })
    }
}

fn finish(
    client: &mut Client<'static>,
    call: shmr_call,
    answer: &mut [u8],
    timeout: Duration,
) -> Outcome<usize> {
    let call = PendingCall::from_word(call.word()).ok_or(Fault::invalid(Argument::Call))?;
    Ok(client.finish_call(call, answer, timeout)?)
}

/// shmr_client_close() - give this end of the channel back
/// @client: closed by this
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_close(client: *mut shmr_client) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { close(client) }
}
