//! What can go wrong, sorted by what a caller can do about it.

use std::fmt;

/// The result of every fallible function of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of a failure. [`Kind::code`] is its stable name; the R package turns it into a
/// condition class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An argument of the caller does not fit.
    Argument,
    /// Text that should be base64, a key or a signature is not.
    Encoding,
    /// Text that should be JSON is not, or is not the JSON that is wanted.
    Json,
    /// A signature is missing or does not hold.
    Signature,
    /// An Olm message or session is refused.
    Olm,
    /// A Megolm message or session is refused.
    Megolm,
    /// An encrypted file is refused.
    Attachment,
    /// A pickle does not open.
    Pickle,
    /// A handle is of another type, from another session, or from before a fork.
    Handle,
    /// A recovery key or passphrase is mistyped, or another's.
    RecoveryKey,
    /// Secret storage on the server is missing, or does not hold what it should.
    SecretStorage,
    /// The key backup on the server is not one to work with.
    KeyBackup,
    /// A dehydrated device does not open, or the server knows none.
    DehydratedDevice,
    /// A key export cannot be read or written.
    KeyExport,
    /// A QR code cannot be made, is not found in an image, or does not hold what it should.
    QrCode,
    /// The server returns another identity of this user than the one this store knows.
    Identity,
    /// A verification cannot go on, or not in this way.
    Verification,
    /// The server's response is not what the specification promises.
    Answer,
    /// The room cannot be sent to: left, unknown, or encrypted in an unknown way.
    Room,
    /// An event is larger than servers accept.
    TooLarge,
    /// The server holds other keys for this device than the store does.
    OwnKeys,
    /// The store could not be read or written.
    Store,
    /// Another process holds the store for too long.
    StoreLocked,
    /// The server of the store does not respond, or the connection to it broke. Nothing was changed.
    StoreUnreachable,
    /// The server of the store refuses this user. To try again is of no use, and can lock the account.
    StoreRefused,
    /// There is a store, but its key is gone.
    StoreKeyMissing,
    /// The key is not the key of this store.
    StoreKeyWrong,
    /// The store was written by a newer version.
    StoreNewer,
    /// The store belongs to another user or device, or two stores were mixed.
    StoreBinding,
    /// The directory holds a store of another package.
    StoreForeign,
    /// This build keeps no stores in such a place.
    StoreUnsupported,
    /// A sealed row was altered or moved.
    StoreTampered,
    /// The store is a copy of another.
    StoreCopy,
    /// The store was moved, or its move is not finished.
    StoreMoved,
    /// The user ended a wait.
    Interrupted,
    /// A defect of this package.
    Internal,
}

impl Kind {
    /// The stable name of this kind.
    pub const fn code(self) -> &'static str {
        match self {
            Kind::Argument => "argument",
            Kind::Encoding => "encoding",
            Kind::Json => "json",
            Kind::Signature => "signature",
            Kind::Olm => "olm",
            Kind::Megolm => "megolm",
            Kind::Attachment => "attachment",
            Kind::Pickle => "pickle",
            Kind::Handle => "handle",
            Kind::RecoveryKey => "recovery_key",
            Kind::SecretStorage => "secret_storage",
            Kind::KeyBackup => "key_backup",
            Kind::DehydratedDevice => "dehydrated_device",
            Kind::KeyExport => "key_export",
            Kind::QrCode => "qr_code",
            Kind::Identity => "identity",
            Kind::Verification => "verification",
            Kind::Answer => "answer",
            Kind::Room => "room",
            Kind::TooLarge => "too_large",
            Kind::OwnKeys => "own_keys",
            Kind::Store => "store",
            Kind::StoreLocked => "store_locked",
            Kind::StoreUnreachable => "store_unreachable",
            Kind::StoreRefused => "store_refused",
            Kind::StoreKeyMissing => "store_key_missing",
            Kind::StoreKeyWrong => "store_key_wrong",
            Kind::StoreNewer => "store_newer",
            Kind::StoreBinding => "store_binding",
            Kind::StoreForeign => "store_foreign",
            Kind::StoreUnsupported => "store_unsupported",
            Kind::StoreTampered => "store_tampered",
            Kind::StoreCopy => "store_copy",
            Kind::StoreMoved => "store_moved",
            Kind::Interrupted => "interrupted",
            Kind::Internal => "internal",
        }
    }
}

/// A failure: its kind, and a message that says what must hold, what was found and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure this is.
    pub kind: Kind,
    /// The message for people. Never holds a secret.
    pub message: String,
}

impl Error {
    /// A failure of `kind` with `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Turns a foreign error into ours: `decode(x).or_fail(Kind::Olm, "…")?`.
pub trait OrFail<T> {
    /// Replaces the error by one of `kind` that says `what`, then the cause.
    fn or_fail(self, kind: Kind, what: &str) -> Result<T>;
}

impl<T, E: fmt::Display> OrFail<T> for std::result::Result<T, E> {
    fn or_fail(self, kind: Kind, what: &str) -> Result<T> {
        self.map_err(|cause| Error::new(kind, format!("{what}: {cause}")))
    }
}
