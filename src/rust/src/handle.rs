//! Handles: Rust objects that R holds, checked for type, process and life before every use.

use std::{cell::RefCell, process};

use extendr_api::prelude::*;
use extendr_ffi::R_ExternalPtrTag;
use mxcrypt_core::{Error, Kind, Result, machine::Rehydration};
use mxcrypt_model_server::ModelServer;
use vodozemac::{
    megolm::{GroupSession, InboundGroupSession},
    olm::{Account, Session},
};

use crate::{
    answer::{answer, string},
    key_export::{Export, KeyImport},
    machine::OpenMachine,
    secret_storage::Secret,
    store_import::Foreign,
};

/// Everything a handle can be.
pub(crate) enum Object {
    Account(Account),
    Olm(Box<Session>),
    MegolmOutbound(GroupSession),
    MegolmInbound(InboundGroupSession),
    Machine(OpenMachine),
    Secret(Secret),
    Rehydration(Box<Rehydration>),
    Export(Export),
    Import(KeyImport),
    Foreign(Foreign),
    Demo(ModelServer),
}

/// A kind of object in a handle.
pub(crate) trait Held: Sized {
    /// What it is called.
    const NAME: &'static str;
    /// Whether a forked process may go on using it. A ratchet that two processes advance encrypts
    /// two messages with one key.
    const OUTLIVES_FORK: bool = false;
    fn held(object: &mut Object) -> Option<&mut Self>;
}

macro_rules! held {
    ($type:ty, $variant:ident, $name:literal, $outlives:literal) => {
        impl Held for $type {
            const NAME: &'static str = $name;
            const OUTLIVES_FORK: bool = $outlives;
            fn held(object: &mut Object) -> Option<&mut Self> {
                if let Object::$variant(held) = object { Some(held) } else { None }
            }
        }
    };
}

held!(Account, Account, "an Olm account", false);
impl Held for Session {
    const NAME: &'static str = "an Olm session";
    fn held(object: &mut Object) -> Option<&mut Self> {
        if let Object::Olm(held) = object { Some(held) } else { None }
    }
}
held!(GroupSession, MegolmOutbound, "an outbound Megolm session", false);
held!(InboundGroupSession, MegolmInbound, "an inbound Megolm session", true);
held!(OpenMachine, Machine, "an open store", true);
held!(Secret, Secret, "a secret", true);
impl Held for Rehydration {
    const NAME: &'static str = "a dehydrated device";
    fn held(object: &mut Object) -> Option<&mut Self> {
        if let Object::Rehydration(held) = object { Some(held) } else { None }
    }
}
held!(Export, Export, "a key export", false);
held!(KeyImport, Import, "a key import", false);
held!(Foreign, Foreign, "a store of another package", false);
held!(ModelServer, Demo, "a demo homeserver", true);

struct Handle {
    process: u32,
    object: RefCell<Object>,
}

/// Gives `object` to R.
pub(crate) fn keep(object: Object) -> Robj {
    ExternalPtr::new(Handle { process: process::id(), object: RefCell::new(object) }).into()
}

/// Does `work` with the object in a handle.
pub(crate) fn with<H: Held, T>(value: &Robj, work: impl FnOnce(&mut H) -> Result<T>) -> Result<T> {
    let wrong = |what: &str| Error::new(Kind::Handle, format!("This must be {}{what}", H::NAME));
    if !is_ours(value) {
        return Err(wrong("."));
    }
    let handle: ExternalPtr<Handle> = value.try_into().map_err(|_| {
        wrong(": it was saved and read again, or is of another session, and is empty now.")
    })?;
    if handle.process != process::id() && !H::OUTLIVES_FORK {
        return Err(wrong(" of this process: a forked process must make its own."));
    }
    let mut object = handle.object.try_borrow_mut().map_err(|_| wrong(" that is not in use."))?;
    work(H::held(&mut object).ok_or_else(|| wrong(", and is another kind of handle."))?)
}

/// Whether this is an external pointer that `keep` made. Looking behind any other, of another
/// package, would be undefined behaviour.
fn is_ours(value: &Robj) -> bool {
    if !value.is_external_pointer() {
        return false;
    }
    // SAFETY: it is an external pointer, and R keeps it alive during the call.
    let tag = unsafe { Robj::from_sexp(R_ExternalPtrTag(value.get())) };
    tag.as_str() == Some(std::any::type_name::<Handle>())
}

/// What a handle holds, for printing. Says why if it cannot be used.
#[extendr]
fn handle_describe(handle: Robj) -> Robj {
    answer(|| {
        let handle: ExternalPtr<Handle> = if is_ours(&handle) {
            (&handle).try_into().map_err(|_| Error::new(Kind::Handle, "empty"))?
        } else {
            return Err(Error::new(Kind::Handle, "not a handle"));
        };
        let object = handle.object.try_borrow().map_err(|_| Error::new(Kind::Handle, "in use"))?;
        Ok(string(match &*object {
            Object::Account(_) => Account::NAME,
            Object::Olm(_) => Session::NAME,
            Object::MegolmOutbound(_) => GroupSession::NAME,
            Object::MegolmInbound(_) => InboundGroupSession::NAME,
            Object::Machine(_) => OpenMachine::NAME,
            Object::Secret(_) => Secret::NAME,
            Object::Rehydration(_) => Rehydration::NAME,
            Object::Export(_) => Export::NAME,
            Object::Import(_) => KeyImport::NAME,
            Object::Foreign(_) => Foreign::NAME,
            Object::Demo(_) => ModelServer::NAME,
        }))
    })
}

extendr_module! {
    mod handle;
    fn handle_describe;
}
