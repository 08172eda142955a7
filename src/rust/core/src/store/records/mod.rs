//! What is kept, one file a topic.

mod account;
mod approval;
mod archive;
mod device;
mod event;
mod failure;
mod healing;
mod heartbeat;
mod identity;
mod kept_file;
mod key_backup;
mod key_bundle;
mod outbox;
mod room;
mod secret_request;
mod secret_storage;
mod session;
mod verification;

pub use self::{
    account::{Binding, KeyCheck, KeyUpload, LoginLease, OwnAccount, SyncLease, SyncPosition},
    approval::{Approval, Approvals},
    archive::{
        ArchivedEdit, ArchivedEvent, ArchivedMedia, ArchivedRedaction, ArchivedRoom,
        ArchivedUnread, MediaFile,
    },
    device::{Device, DeviceList, LocalTrust},
    event::{
        Attempt, Consumer, Event, Facts, Given, HeldPart, HeldTimeline, InboxRow, Original,
        SharedFacts, TakenEvent, Unreadable, WaitingEvent,
    },
    failure::Failure,
    healing::{KeyRequest, OlmMessageSeen, OlmRepair, ReceivedRequest, WithheldKey},
    heartbeat::{Heartbeat, HeartbeatState},
    identity::{Identity, NewIdentity, OwnIdentity, PrivateKeys},
    kept_file::FilePiece,
    key_backup::{BackupFailure, BackupRequest, BackupVersion, KeyBackup, NewBackup},
    key_bundle::{OwnBundle, ReceivedBundle},
    outbox::{Ask, Delay, Lane, OutboxBody, OutboxRow, OutboxState, Request, Upload},
    room::{Encryption, Member, Membership, Room},
    secret_request::{ReceivedSecretRequest, SecretRequest},
    secret_storage::KeyChange,
    session::{
        InboundSession, Isolation, IsolationMode, KeyShare, KeySource, OlmSession, OutboundSession,
        OwedKey, OwedKeysDue, Peer,
    },
    verification::{FixedKeys, Owed, Phase, Proven, Sas, Verification},
};
use super::{
    Closure, Record, SINGLE, Single, Table,
    beside::NeededFile,
    database::{Row, Value},
    open_row, read_row,
};
use crate::{error::Result, primitives::seal::Seal};

/// A table of sealed rows, and what opens one whose type nobody names.
pub(super) struct Sealed {
    pub(super) table: Table,
    /// Opens a row whole, and returns the files that it needs.
    pub(super) open: fn(&Seal, &Row) -> Result<Vec<NeededFile>>,
}

const fn sealed<R: Record>() -> Sealed {
    Sealed {
        table: R::TABLE,
        open: |seal, row| {
            let record: R = open_row(seal, row)?;
            Ok(record.files())
        },
    }
}

/// Every table that holds sealed rows.
pub(super) const TABLES: &[Sealed] = &[
    Sealed { table: SINGLE, open: open_single },
    sealed::<OlmSession>(),
    sealed::<InboundSession>(),
    sealed::<OutboundSession>(),
    sealed::<KeyShare>(),
    sealed::<OwedKey>(),
    sealed::<DeviceList>(),
    sealed::<Device>(),
    sealed::<Identity>(),
    sealed::<Room>(),
    sealed::<Member>(),
    sealed::<Request>(),
    sealed::<Failure>(),
    sealed::<OutboxRow>(),
    sealed::<InboxRow>(),
    sealed::<Consumer>(),
    sealed::<WaitingEvent>(),
    sealed::<SharedFacts>(),
    sealed::<Original>(),
    sealed::<TakenEvent>(),
    sealed::<OlmMessageSeen>(),
    sealed::<OlmRepair>(),
    sealed::<WithheldKey>(),
    sealed::<KeyRequest>(),
    sealed::<BackupRequest>(),
    sealed::<ReceivedRequest>(),
    sealed::<SecretRequest>(),
    sealed::<ReceivedSecretRequest>(),
    sealed::<HeldTimeline>(),
    sealed::<Verification>(),
    sealed::<OwnBundle>(),
    sealed::<ReceivedBundle>(),
    sealed::<ArchivedRoom>(),
    sealed::<ArchivedEvent>(),
    sealed::<ArchivedEdit>(),
    sealed::<ArchivedUnread>(),
    sealed::<ArchivedRedaction>(),
    sealed::<ArchivedMedia>(),
    sealed::<Heartbeat>(),
    sealed::<FilePiece>(),
];

fn open_single(seal: &Seal, row: &Row) -> Result<Vec<NeededFile>> {
    let name = match &row.key[..] {
        [Value::Text(name)] => name.as_str(),
        _ => "",
    };
    SINGLES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or_else(|| read::<serde_json::Value>(seal, row), |(_, read)| read(seal, row))?;
    Ok(Vec::new())
}

type Read = fn(&Seal, &Row) -> Result<()>;

/// Every record of which there is one.
const SINGLES: &[(&str, Read)] = &[
    single::<Approvals>(),
    single::<Binding>(),
    single::<Closure>(),
    single::<Given>(),
    single::<IsolationMode>(),
    single::<KeyBackup>(),
    single::<KeyCheck>(),
    single::<KeyUpload>(),
    single::<LoginLease>(),
    single::<OwedKeysDue>(),
    single::<OwnAccount>(),
    single::<OwnIdentity>(),
    single::<SyncPosition>(),
];

const fn single<S: Single>() -> (&'static str, Read) {
    (S::NAME, read::<S>)
}

fn read<B: serde::de::DeserializeOwned>(seal: &Seal, row: &Row) -> Result<()> {
    read_row::<B>(seal, &SINGLE, row).map(drop)
}

/// Keeps vodozemac's objects, which are ratchets and not data, through their pickles.
macro_rules! pickled {
    ($module:ident, $object:ty, $pickle:ty) => {
        pub(super) mod $module {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(in crate::store::records) fn serialize<S: Serializer>(
                object: &$object,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                object.pickle().serialize(serializer)
            }

            pub(in crate::store::records) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$object, D::Error> {
                <$pickle>::deserialize(deserializer).map(<$object>::from_pickle)
            }
        }
    };
}

pickled!(pickled_account, vodozemac::olm::Account, vodozemac::olm::AccountPickle);
pickled!(pickled_olm, vodozemac::olm::Session, vodozemac::olm::SessionPickle);
pickled!(pickled_outbound, vodozemac::megolm::GroupSession, vodozemac::megolm::GroupSessionPickle);
pickled!(
    pickled_inbound,
    vodozemac::megolm::InboundGroupSession,
    vodozemac::megolm::InboundGroupSessionPickle
);
