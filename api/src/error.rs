//! The one table of errors: what went wrong -> HTTP status, `errorType`, text. Every handler of
//! `/api/v1` fails with [`ApiError`]; no other file may choose a status for a failure.

use crate::envelope;
use axum::response::{IntoResponse, Response};
use hearth_model::StoreError;
use hearth_model::context::Stop;
use hearth_promql::query::QueryError;
use http::StatusCode;

/// `errorType` of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    Unavailable,
    NotFound,
}

impl ErrorType {
    pub fn text(self) -> &'static str {
        match self {
            ErrorType::BadData => "bad_data",
            ErrorType::Execution => "execution",
            ErrorType::Canceled => "canceled",
            ErrorType::Timeout => "timeout",
            ErrorType::Internal => "internal",
            ErrorType::Unavailable => "unavailable",
            ErrorType::NotFound => "not_found",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            ErrorType::BadData => StatusCode::BAD_REQUEST,
            ErrorType::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // The client is gone; the code is nginx's "client closed request", as Prometheus answers.
            ErrorType::Canceled => StatusCode::from_u16(499).expect("three digits"),
            ErrorType::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            ErrorType::NotFound => StatusCode::NOT_FOUND,
            ErrorType::Internal | ErrorType::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A failed request of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub kind: ErrorType,
    pub text: String,
}

impl ApiError {
    pub fn bad_data(text: impl Into<String>) -> ApiError {
        ApiError { kind: ErrorType::BadData, text: text.into() }
    }

    /// A parameter that cannot be used, by its name.
    pub fn parameter(name: &str, why: impl std::fmt::Display) -> ApiError {
        ApiError::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }

    pub fn not_found(text: impl Into<String>) -> ApiError {
        ApiError { kind: ErrorType::NotFound, text: text.into() }
    }

    pub fn internal(why: impl std::fmt::Display) -> ApiError {
        ApiError { kind: ErrorType::Internal, text: why.to_string() }
    }

    pub fn unavailable(text: impl Into<String>) -> ApiError {
        ApiError { kind: ErrorType::Unavailable, text: text.into() }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        match error {
            QueryError::BadData(text) => ApiError::parameter("query", text),
            QueryError::Execution(text) => ApiError { kind: ErrorType::Execution, text },
            QueryError::OutOfMemory { .. } => {
                ApiError { kind: ErrorType::Execution, text: error.to_string() }
            }
            QueryError::TimedOut(_) => ApiError { kind: ErrorType::Timeout, text: error.to_string() },
            QueryError::Canceled(_) => ApiError { kind: ErrorType::Canceled, text: error.to_string() },
            QueryError::Storage(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let kind = match &error {
            StoreError::Stopped(Stop::Cancelled) => ErrorType::Canceled,
            StoreError::Stopped(Stop::TimedOut) => ErrorType::Timeout,
            StoreError::Stopped(Stop::Shutdown) | StoreError::Closed => ErrorType::Unavailable,
            StoreError::MemoryLimit { .. } => ErrorType::Execution,
            StoreError::ReadOnly(_) | StoreError::Overloaded | StoreError::Io(_) => ErrorType::Internal,
        };
        ApiError { kind, text: error.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        envelope::failure(self.kind, &self.text)
    }
}

/// A plain-text error as Go's HTTP server writes it, for what is not inside the envelope.
pub fn plain(status: StatusCode, text: &str) -> Response {
    let headers = [
        (http::header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, format!("{text}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: impl Into<ApiError>, status: u16, kind: &str, text: &str) {
        let error = error.into();
        assert_eq!(
            (error.kind.status().as_u16(), error.kind.text(), error.text.as_str()),
            (status, kind, text)
        );
    }

    #[test]
    fn every_failure_has_its_row() {
        let bad = QueryError::BadData("1:4: parse error: unclosed left parenthesis".to_owned());
        let text = "invalid parameter \"query\": 1:4: parse error: unclosed left parenthesis";
        check(bad, 400, "bad_data", text);
        check(QueryError::Execution("too much".to_owned()), 422, "execution", "too much");
        check(
            QueryError::TimedOut("expression evaluation"),
            503,
            "timeout",
            "query timed out in expression evaluation",
        );
        check(
            QueryError::Canceled("query execution"),
            499,
            "canceled",
            "query was canceled in query execution",
        );
        check(
            QueryError::Storage(StoreError::Io("disk".to_owned())),
            500,
            "internal",
            "storage I/O failed: disk",
        );
        check(StoreError::Stopped(Stop::TimedOut), 503, "timeout", "query timed out");
        check(StoreError::Closed, 500, "unavailable", "storage is closed");
        let limit = StoreError::MemoryLimit { account: "query", limit_bytes: 5 };
        check(limit, 422, "execution", "memory limit of 5 bytes for query reached");
    }
}
