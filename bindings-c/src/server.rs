//! The end of a channel that receives commands and answers them.

use core::ffi::{c_char, c_void};

use shmem_channel::{Call, Incoming, Server};

use crate::channel::{options, shmr_call, shmr_channel_options};
use crate::handle::{bytes, bytes_mut, c_string, close, handle, output};
use crate::on_session::{open_on, query, with_open, OnSession};
use crate::platform::timeout;
use crate::session::shmr_session;
use crate::status::shmr_status::{SHMR_CALLER_RESTARTED, SHMR_OK, SHMR_RESTARTED};
use crate::status::{shmr_error, shmr_status, status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_server - the end of a channel that receives commands and sends results
/// @error: why the last call on it failed
#[repr(C, align(128))]
pub struct shmr_server {
    pub error: shmr_error,
    opaque: [u64; 172],
}

handle!(shmr_server, b"srvr", OnSession<Server<'static>>);

/// shmr_server_open() - open the end of a channel that answers commands
/// @server:  to be opened
/// @session: a session, which must not move while @server is open
/// @name:    the channel's name, 1 to 24 bytes
/// @options: capacities, or NULL for 16 KiB in each direction
///
/// The first end that opens the channel creates it. Commands that an earlier incarnation of this
/// end did not receive are discarded.
///
/// Return: the statuses of shmr_client_open().
#[no_mangle]
pub unsafe extern "C" fn shmr_server_open(
    server: *mut shmr_server,
    session: *const shmr_session,
    name: *const c_char,
    options: *const shmr_channel_options,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open_on(server, session, |session, place| {
            let name = c_string(name, Argument::Name)?;
            place.write(self::options(options)?.server(session, name)?);
            Ok(())
        })
    }
}

/// shmr_server_max_len() - the length of the longest answer
/// @server: a server
///
/// Return: the number of bytes; 0 if @server is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_server_max_len(server: *const shmr_server) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { query(server, 0, Server::max_len) }
}

/// shmr_server_discarded() - the number of commands that this end did not receive
/// @server: a server
///
/// Return: commands that were discarded at restarts of either end, modulo 2^32; 0 if @server is not
/// open.
#[no_mangle]
pub unsafe extern "C" fn shmr_server_discarded(server: *const shmr_server) -> u32 {
    // SAFETY: guaranteed by the caller.
    unsafe { query(server, 0, Server::discarded) }
}

/// shmr_server_client_is_gone() - whether the client is gone or has left the channel
/// @server: a server
///
/// Return: true if the partition that holds the client's end is gone, or the client that this
/// server exchanged messages with has left the channel; else false.
#[no_mangle]
pub unsafe extern "C" fn shmr_server_client_is_gone(server: *const shmr_server) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { query(server, false, Server::client_is_gone) }
}

/// shmr_server_recv() - receive a command
/// @server:  a server
/// @buffer:  where the command goes
/// @size:    bytes of @buffer
/// @len:     set to the length of the command
/// @call:    set to the call, for shmr_server_answer(). Its number is 0 if the command is a message
///           without an answer
/// @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
///
/// No later incarnation of this end receives a received command again.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TIMED_OUT: no command in time. Try again later.
/// * SHMR_RESTARTED: the client was restarted; what follows is from the new client. Reported once.
///   Forget the old client's state and receive again.
/// * SHMR_BUFFER_TOO_SHORT: the command stays, and the error's value is its length. Receive again
///   with a larger buffer.
/// * SHMR_BAD_MESSAGE: the client broke the rules of calls; the message was skipped. Receive again.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_server_recv(
    server: *mut shmr_server,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
    call: *mut shmr_call,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(server, |own, _| {
            let (len_out, call_out) = (output(len, Argument::Len)?, output(call, Argument::Call)?);
            call_out.write(shmr_call::NONE);
            let buffer = bytes_mut(buffer, size, Argument::Buffer)?;
            let len = match own.recv(buffer, self::timeout(timeout))? {
                Incoming::Call { call, len } => {
                    call_out.write(shmr_call::from_word(call.into_word()));
                    len
                }
                Incoming::Message { len } => len,
                Incoming::PeerRestarted => return Err(Fault::new(SHMR_RESTARTED)),
            };
            len_out.write(len);
            Ok(())
        })
    }
}

/// shmr_server_skip() - release a command without copying it
/// @server: a server
/// @call:   set to the call, which can be answered. Its number is 0 if the command is a message
///          without an answer, or if there is no command now
///
/// For a command that shmr_server_recv() returned SHMR_BUFFER_TOO_SHORT for. Does not wait.
///
/// Return:
/// * SHMR_OK
/// * SHMR_RESTARTED: the client was restarted, and nothing was released. Receive again.
/// * SHMR_BAD_MESSAGE: as for shmr_server_recv().
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_server_skip(
    server: *mut shmr_server,
    call: *mut shmr_call,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(server, |own, _| {
            let call_out = output(call, Argument::Call)?;
            call_out.write(shmr_call::NONE);
            if let Some(call) = own.skip()? {
                call_out.write(shmr_call::from_word(call.into_word()));
            }
            Ok(())
        })
    }
}

/// shmr_server_answer() - answer a call
/// @server:  the server that received the call
/// @call:    the call; zeroed if it was answered, or can no longer be answered
/// @answer:  the bytes to send, outside the region
/// @len:     number of bytes, at most shmr_server_max_len(); may be 0
/// @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
///
/// Return: the statuses of shmr_client_send(), and
/// * SHMR_CALLER_RESTARTED: the client that made the call was restarted since; nothing was sent.
///   Continue with the next command.
#[no_mangle]
pub unsafe extern "C" fn shmr_server_answer(
    server: *mut shmr_server,
    call: *mut shmr_call,
    answer: *const c_void,
    len: usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(server, |own, _| {
            let call = &mut *output(call, Argument::Call)?.as_mut_ptr();
            let answer = bytes(answer, len, Argument::Message)?;
            let invalid = Fault::invalid(Argument::Call);
            let number = Call::from_word(call.word()).ok_or(invalid)?;
            let answered = own.answer(number, answer, self::timeout(timeout));
            let answered: Outcome = answered.map_err(Fault::from);
            if let SHMR_OK | SHMR_CALLER_RESTARTED = status(answered) {
                *call = shmr_call::NONE;
            }
            answered
        })
    }
}

/// shmr_server_send() - send a message that is not an answer
/// @server:  a server
/// @message: the bytes to send, outside the region
/// @len:     number of bytes, at most shmr_server_max_len(); may be 0
/// @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
///
/// Return: the statuses of shmr_client_send().
#[no_mangle]
pub unsafe extern "C" fn shmr_server_send(
    server: *mut shmr_server,
    message: *const c_void,
    len: usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(server, |own, _| {
            let message = bytes(message, len, Argument::Message)?;
            Ok(own.send(message, self::timeout(timeout))?)
        })
    }
}

/// shmr_server_close() - close this end of the channel
/// @server: the server to close
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_server_close(server: *mut shmr_server) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(server) }
}
