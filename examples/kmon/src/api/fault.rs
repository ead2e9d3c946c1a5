//! Why a request failed.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kind of a failure.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The request is not as the API describes it.
    BadRequest,
    /// The peer may not do this.
    Forbidden,
    /// There is no such path.
    NotFound,
    /// There is no such instance.
    NoSuchInstance,
    MethodNotAllowed,
    /// The request took too long to arrive.
    Timeout,
    /// The request is longer than its limit.
    TooLarge,
    /// The instance does not run.
    NotRunning,
    /// The instance was started but does not run.
    NotStarted,
    AlreadyRunning,
    AlreadyHalted,
    /// Another request starts or ends the instance.
    Busy,
    /// The name belongs to another instance, or no number is left.
    Taken,
    /// Another client writes to the console.
    ConsoleInUse,
    /// The state or the kind of the instance does not allow it.
    Conflict,
    /// There are too many connections.
    TooMany,
    /// The server could not do it.
    Failed,
}

impl Code {
    /// Returns the status of a response with this code.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound | Self::NoSuchInstance => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::TooLarge => 413,
            Self::NotRunning
            | Self::NotStarted
            | Self::AlreadyRunning
            | Self::AlreadyHalted
            | Self::Busy
            | Self::Taken
            | Self::ConsoleInUse
            | Self::Conflict => 409,
            Self::Failed => 500,
            Self::TooMany => 503,
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    /// One line, which says what to do.
    pub(crate) message: String,
}

/// The body of a response that reports a failure.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Failure {
    pub(crate) error: Fault,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Returns a failure of this kind.
pub(crate) fn refuse<T>(code: Code, message: impl Into<String>) -> anyhow::Result<T> {
    Err(Fault::new(code, message).into())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        let code = error.downcast_ref::<Self>().map(|fault| fault.code);
        Self::new(code.unwrap_or(Code::Failed), format!("{error:#}"))
    }
}
