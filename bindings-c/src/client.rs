//! The end of a channel that sends commands.

use core::ffi::{c_char, c_void};
use core::time::Duration;

use shmem_channel::{Client, PendingCall, Received, FOREVER};

use crate::channel::{options, shmr_call, shmr_channel_options};
use crate::handle::{bytes, bytes_mut, c_string, close, handle, output};
use crate::on_session::{open_on, query, with_open, OnSession};
use crate::platform::timeout;
use crate::session::shmr_session;
use crate::status::shmr_status::{
    SHMR_ANSWER_LOST, SHMR_BUFFER_TOO_SHORT, SHMR_OK, SHMR_PEER_GONE, SHMR_RESTARTED,
};
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
/// @session: a session, which must not move while @client is open
/// @name:    the channel's name, 1 to 24 bytes
/// @options: capacities, or NULL for 16 KiB in each direction
///
/// The first end that opens the channel creates it.
///
/// Return:
/// * SHMR_OK
/// * SHMR_CLAIMED: a partition that is not known to be gone holds this end; the error's value is
///   that incarnation. Try again after it has closed the end, or is known to be gone.
/// * SHMR_LENGTH: the channel exists with another capacity. Use the same capacities on both ends.
/// * SHMR_KIND, SHMR_COLLISION: the name is used for something else. Use another name.
/// * SHMR_TABLE_FULL, SHMR_OUT_OF_SPACE: the region has no room for the channel. Use a larger
///   region.
/// * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again.
/// * SHMR_NO_RMW: the channel does not exist, and the session creates nothing. Open the other end
///   first.
/// * SHMR_EINVAL: also for a name or a capacity that no channel can have
/// * SHMR_OPEN, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_client_open(
    client: *mut shmr_client,
    session: *const shmr_session,
    name: *const c_char,
    options: *const shmr_channel_options,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open_on(client, session, |session, place| {
            let name = c_string(name, Argument::Name)?;
            place.write(self::options(options)?.client(session, name)?);
            Ok(())
        })
    }
}

/// shmr_client_max_len() - the length of the longest command
/// @client: a client
///
/// Return: the number of bytes; 0 if @client is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_max_len(client: *const shmr_client) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { query(client, 0, Client::max_len) }
}

/// shmr_client_discarded() - the number of messages that this end did not receive
/// @client: a client
///
/// Return: messages of dead servers, and answers to calls that were given up or that an earlier
/// client made, modulo 2^32; 0 if @client is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_discarded(client: *const shmr_client) -> u32 {
    // SAFETY: guaranteed by the caller.
    unsafe { query(client, 0, Client::discarded) }
}

/// shmr_client_server_is_gone() - whether the server is gone or has left the channel
/// @client: a client
///
/// Return: true if the partition that holds the server's end is gone, or the server that this
/// client exchanged messages with has left the channel; else false.
#[no_mangle]
pub unsafe extern "C" fn shmr_client_server_is_gone(client: *const shmr_client) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { query(client, false, Client::server_is_gone) }
}

/// shmr_client_send() - send a command as a message that expects no answer
/// @client:  a client
/// @command: the bytes to send, outside the region
/// @len:     number of bytes, at most shmr_client_max_len(); may be 0
/// @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
///
/// A command that is sent before there is a server is kept for the first server.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TIMED_OUT: no room in time; nothing was sent. Try again later.
/// * SHMR_RESTARTED: the server was restarted; nothing was sent. Reported once. Send again if the
///   command suits the new server.
/// * SHMR_PEER_GONE: the ring is full, and no server is left to make room; nothing was sent. Try
///   again later: a new server makes room.
/// * SHMR_TOO_LONG: the command can never be sent. Use a larger capacity.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_client_send(
    client: *mut shmr_client,
    command: *const c_void,
    len: usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(client, |own, _| {
            let command = bytes(command, len, Argument::Message)?;
            Ok(own.send(command, self::timeout(timeout))?)
        })
    }
}

/// shmr_client_recv() - receive a message of the server that is not an answer
/// @client:  a client
/// @buffer:  where the message goes
/// @size:    bytes of @buffer
/// @len:     set to the length of the message
/// @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
///
/// If the answer to an unfinished call is before the message on the ring, it is lost:
/// shmr_client_finish_call() for that call then finds none, and returns SHMR_TIMED_OUT.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TIMED_OUT: no message in time. Try again later.
/// * SHMR_RESTARTED: the server was restarted; what follows is from the new server. Reported once.
///   Receive again.
/// * SHMR_BUFFER_TOO_SHORT: the message stays, and the error's value is its length. Receive again
///   with a larger buffer.
/// * SHMR_BAD_MESSAGE: the server broke the rules of calls; the message was skipped. Receive again,
///   or give up this server.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_client_recv(
    client: *mut shmr_client,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(client, |own, _| {
            let out = output(len, Argument::Len)?;
            let buffer = bytes_mut(buffer, size, Argument::Buffer)?;
            match own.recv(buffer, self::timeout(timeout))? {
                Received::Message(len) => out.write(len),
                Received::PeerRestarted => return Err(Fault::new(SHMR_RESTARTED)),
            };
            Ok(())
        })
    }
}

/// shmr_client_skip() - release a message without copying it
/// @client: a client
///
/// For a message that shmr_client_recv() returned SHMR_BUFFER_TOO_SHORT for. Does nothing if there
/// is no message now.
///
/// Return:
/// * SHMR_OK
/// * SHMR_RESTARTED: the server was restarted, and nothing was released. Receive again.
/// * SHMR_BAD_MESSAGE: as for shmr_client_recv().
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_client_skip(client: *mut shmr_client) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with_open(client, |own, _| Ok(own.skip()?)) }
}

/// shmr_client_call() - send a command and wait for its answer
/// @client:      a client
/// @command:     the bytes to send, outside the region
/// @command_len: number of bytes, at most shmr_client_max_len(); may be 0
/// @answer:      where the answer goes; may overlap @command
/// @size:        bytes of @answer
/// @len:         set to the length of the answer
/// @timeout:     nanoseconds for the whole call; SHMR_FOREVER is no limit
///
/// The call ends as soon as the session's platform knows that the server is gone.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TIMED_OUT, SHMR_PEER_GONE: no answer; it is unknown whether the command was carried out.
///   Call again only if it may be carried out twice.
/// * SHMR_ANSWER_LOST: the server was restarted before it answered. Decide as for SHMR_PEER_GONE.
/// * SHMR_RESTARTED: the server was restarted; nothing was sent. Reported once. Call again if the
///   command is meant for the new server.
/// * SHMR_MESSAGE_FIRST: the command was sent, but a message is next, and the answer will be lost.
///   To receive both, use shmr_client_start_call() instead.
/// * SHMR_TOO_LONG: the command can never be sent. Use a larger capacity.
/// * SHMR_BUFFER_TOO_SHORT: the answer is lost, and the error's value is its length. Use a larger
///   buffer.
/// * SHMR_BAD_MESSAGE: the server broke the rules of calls. Give up this server.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
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
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(client, |own, session| {
            let out = output(len, Argument::Len)?;
            // Checked before anything is sent. Not kept: it may overlap the command.
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
            out.write(own.finish_call(call, answer, left)?);
            Ok(())
        })
    }
}

/// shmr_client_start_call() - send a command as a call, without waiting for the answer
/// @client:  a client
/// @command: the bytes to send, outside the region
/// @len:     number of bytes, at most shmr_client_max_len(); may be 0
/// @call:    set to the call, for shmr_client_finish_call()
/// @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
///
/// Any number of calls can wait for their answers. SHMR_BAD_MESSAGE reports a second answer to one
/// of the last 64 calls only.
///
/// Return: the statuses of shmr_client_send().
#[no_mangle]
pub unsafe extern "C" fn shmr_client_start_call(
    client: *mut shmr_client,
    command: *const c_void,
    len: usize,
    call: *mut shmr_call,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(client, |own, _| {
            let out = output(call, Argument::Call)?;
            out.write(shmr_call::NONE);
            let command = bytes(command, len, Argument::Message)?;
            let call = own.start_call(command, self::timeout(timeout))?;
            out.write(shmr_call::from_word(call.to_word()));
            Ok(())
        })
    }
}

/// shmr_client_finish_call() - wait for the answer to a call
/// @client:  the client that started the call
/// @call:    the call; zeroed if there is nothing more to wait for
/// @answer:  where the answer goes
/// @size:    bytes of @answer
/// @len:     set to the length of the answer
/// @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
///
/// This gives up the unfinished calls that the server answered on the ring before this one: the
/// answers are lost, and finishing such a call later returns SHMR_TIMED_OUT.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TIMED_OUT: no answer in time. Finish the call later, or give it up.
/// * SHMR_MESSAGE_FIRST: a message is next. Receive it by shmr_client_recv(), then finish the call.
/// * SHMR_PEER_GONE, SHMR_ANSWER_LOST: there will be no answer, because the server is gone or was
///   restarted; it is unknown whether the command was carried out. Call again only if it may be
///   carried out twice.
/// * SHMR_BUFFER_TOO_SHORT: the answer is lost, and the error's value is its length. Use a larger
///   buffer.
/// * SHMR_BAD_MESSAGE: the server broke the rules of calls. Finish the call later, or give up this
///   server.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_client_finish_call(
    client: *mut shmr_client,
    call: *mut shmr_call,
    answer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(client, |own, _| {
            let call = &mut *output(call, Argument::Call)?.as_mut_ptr();
            let out = output(len, Argument::Len)?;
            let answer = bytes_mut(answer, size, Argument::Buffer)?;
            let outcome = finish(own, *call, answer, self::timeout(timeout));
            let ended = outcome.map_or_else(|fault| fault.status(), |_| SHMR_OK);
            if let SHMR_OK | SHMR_PEER_GONE | SHMR_ANSWER_LOST | SHMR_BUFFER_TOO_SHORT = ended {
                *call = shmr_call::NONE;
            }
            out.write(outcome?);
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

/// shmr_client_close() - close this end of the channel
/// @client: the client to close
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_client_close(client: *mut shmr_client) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(client) }
}
