//! The model homeserver, as an in-process transport.

use extendr_api::prelude::*;
use mxcrypt_core::{Error, Kind};
use mxcrypt_model_server::{Behaviour, ModelServer, Request};

use crate::{
    answer::{answer, number, raw, record},
    arguments,
    clock::now,
    handle::{Held, keep, with},
};

impl Held for ModelServer {
    const NAME: &'static str = "a demo homeserver";
    const OUTLIVES_FORK: bool = true;
}

#[extendr]
fn demo_new(server_name: Robj) -> Robj {
    answer(|| {
        let name = arguments::text(&server_name, "server_name")?;
        Ok(keep(ModelServer::new(&name)))
    })
}

#[extendr]
fn demo_handle(demo: Robj, method: Robj, path: Robj, token: Robj, body: Robj) -> Robj {
    answer(|| {
        let request = Request {
            method: arguments::text(&method, "method")?,
            path: arguments::text(&path, "path")?,
            token: arguments::optional_text(&token, "token")?,
            body: arguments::bytes(&body, "body")?.to_vec(),
        };
        with(&demo, |server: &mut ModelServer| {
            let (status, body) = match server.file(&request) {
                Some(file) => (200, raw(file)),
                None => {
                    let response = server.handle(now().unsigned_abs(), &request);
                    (response.status, raw(response.body.as_bytes()))
                }
            };
            Ok(record([("status", number(status.into())), ("body", body)]))
        })
    })
}

/// Makes the server act as another kind of homeserver.
#[extendr]
fn demo_behave(demo: Robj, kind: Robj) -> Robj {
    answer(|| {
        let kind = arguments::text(&kind, "kind")?;
        let unknown = || Error::new(Kind::Argument, format!("`{kind}` is no kind of homeserver."));
        let behaviour = Behaviour::of_kind(&kind).ok_or_else(unknown)?;
        with(&demo, |server: &mut ModelServer| {
            server.behave(behaviour);
            Ok(Robj::from(()))
        })
    })
}

/// Every request body the server has seen, as raw vectors.
#[extendr]
fn demo_requests(demo: Robj) -> Robj {
    answer(|| {
        with(&demo, |server: &mut ModelServer| {
            let seen: Vec<Robj> = server.seen().map(raw).collect();
            Ok(List::from_values(seen))
        })
    })
}

extendr_module! {
    mod demo;
    fn demo_new;
    fn demo_handle;
    fn demo_behave;
    fn demo_requests;
}
