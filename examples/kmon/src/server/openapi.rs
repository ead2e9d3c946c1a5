//! The description of the API, from the types and the handlers.

use utoipa::OpenApi;

use super::{console, events, exec, files, general, instances, lines};
use crate::api::{
    console as console_api, exec as exec_api, files as files_api, lines as lines_api,
};

/// The API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "KMON",
        description = "The API of a KMON server on its Unix socket."
    ),
    paths(
        general::version,
        general::stats,
        general::system_info,
        general::notices,
        general::shutdown,
        events::serve,
        instances::list,
        instances::create,
        instances::get,
        instances::remove,
        instances::load,
        instances::reset,
        instances::halt,
        instances::pause,
        instances::resume,
        instances::log,
        instances::seen,
        lines::of_instance,
        lines::of_notices,
        console::serve,
        exec::serve,
        files::serve,
    ),
    components(schemas(
        console_api::Open,
        console_api::FromClient,
        console_api::FromServer,
        exec_api::Request,
        exec_api::Stop,
        exec_api::Last,
        files_api::Request,
        files_api::Answer,
        lines_api::Line,
    ))
)]
struct Api;

/// Returns the description of the API in the OpenAPI format.
pub(crate) fn description() -> anyhow::Result<String> {
    Ok(Api::openapi().to_pretty_json()? + "\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_description_in_the_documentation_is_current() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let written = std::fs::read_to_string(file).unwrap();
        let current = super::description().unwrap();
        assert!(
            written == current,
            "run `kmon serve --openapi > docs/openapi.json`"
        );
    }
}
