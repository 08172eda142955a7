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
    account::{Binding, KeyCheck, KeyUpload, LoginLease, OwnAccount, SyncPosition},
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
use super::{Record, SINGLE, Table};

/// Every table that holds sealed rows.
pub(super) const TABLES: &[Table] = &[
    SINGLE,
    OlmSession::TABLE,
    InboundSession::TABLE,
    OutboundSession::TABLE,
    KeyShare::TABLE,
    OwedKey::TABLE,
    DeviceList::TABLE,
    Device::TABLE,
    Identity::TABLE,
    Room::TABLE,
    Member::TABLE,
    Request::TABLE,
    Failure::TABLE,
    OutboxRow::TABLE,
    InboxRow::TABLE,
    Consumer::TABLE,
    WaitingEvent::TABLE,
    SharedFacts::TABLE,
    Original::TABLE,
    TakenEvent::TABLE,
    OlmMessageSeen::TABLE,
    OlmRepair::TABLE,
    WithheldKey::TABLE,
    KeyRequest::TABLE,
    BackupRequest::TABLE,
    ReceivedRequest::TABLE,
    SecretRequest::TABLE,
    ReceivedSecretRequest::TABLE,
    HeldTimeline::TABLE,
    Verification::TABLE,
    OwnBundle::TABLE,
    ReceivedBundle::TABLE,
    ArchivedRoom::TABLE,
    ArchivedEvent::TABLE,
    ArchivedEdit::TABLE,
    ArchivedUnread::TABLE,
    ArchivedRedaction::TABLE,
    ArchivedMedia::TABLE,
    Heartbeat::TABLE,
    FilePiece::TABLE,
];

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
