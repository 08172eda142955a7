//! User-interactive authentication, for R.

use extendr_api::prelude::*;
use mxcrypt_core::judgement::authentication::{self, Page};

use crate::{
    answer::{answer, optional_string, record, strings},
    arguments,
    clock::now,
    machine::on,
};

/// Judges the body of a response with status 401: what it demands, or `NULL`.
#[extendr]
fn judge_challenge(body: Robj, able: Robj) -> Robj {
    answer(|| {
        let able = arguments::texts(&able, "able")?;
        let asked = authentication::challenge(arguments::bytes(&body, "body")?, &able);
        Ok(asked.map_or_else(
            || ().into(),
            |asked| {
                let url = match &asked.page {
                    Page::Web(url) => Some(url.as_str()),
                    Page::Fallback | Page::Refused => None,
                };
                record([
                    ("session", optional_string(asked.session.as_deref())),
                    ("stages", strings(asked.stages.iter().map(|stage| Some(stage.as_str())))),
                    ("url", optional_string(url)),
                    ("refused", (asked.page == Page::Refused).into()),
                ])
            },
        ))
    })
}

#[extendr]
fn machine_pending_approval(handle: Robj, path: Robj, body: Robj) -> Robj {
    on(&handle, |machine| {
        let path = arguments::text(&path, "path")?;
        let session = machine.pending_approval(&path, &arguments::text(&body, "body")?)?;
        Ok(optional_string(session.as_deref()))
    })
}

#[extendr]
fn machine_note_approval(handle: Robj, path: Robj, body: Robj, session: Robj) -> Robj {
    on(&handle, |machine| {
        let path = arguments::text(&path, "path")?;
        let session = arguments::optional_text(&session, "session")?;
        machine.note_approval(now(), &path, &arguments::text(&body, "body")?, session.as_deref())
    })
}

extendr_module! {
    mod authentication;
    fn judge_challenge;
    fn machine_pending_approval;
    fn machine_note_approval;
}
