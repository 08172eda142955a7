//! An invitation: stripped state events, made by the server of the user who invites.
//!
//! Specification: client-server API, "Stripped state".

use std::borrow::Cow;

use super::{identifier, members::Members};

/// What the stripped state of a room says.
#[derive(Debug, Default)]
pub struct Invitation<'a> {
    /// Who invites; none where that is no user.
    pub inviter: Option<String>,
    /// The room is to be a direct chat.
    pub direct: bool,
    /// State of the room under an empty key, by its type, in order.
    pub state: Vec<(Cow<'a, str>, Members<'a>)>,
}

impl<'a> Invitation<'a> {
    /// Reads the events in `state`, of an invitation of `user_id`. What cannot be read of them is left out:
    /// the invitation is valid without it.
    pub fn read(state: &'a [String], user_id: &str) -> Self {
        let mut invitation = Self::default();
        for text in state {
            let Ok(event) = Members::read(text) else { continue };
            let (Some(event_type), Some(state_key)) = (event.text("type"), event.text("state_key"))
            else {
                continue;
            };
            let content = event.object("content");
            if state_key.is_empty() {
                invitation.state.extend(content.map(|content| (event_type, content)));
            } else if event_type == "m.room.member" && state_key == user_id {
                let sender = event.text("sender").filter(|id| identifier::is_user_id(id));
                let direct = content.and_then(|content| content.raw("is_direct"));
                invitation.inviter = sender.map(Cow::into_owned);
                invitation.direct = direct.is_some_and(|direct| direct.get() == "true");
            }
        }
        invitation
    }

    /// The content of the membership event that the invitation is.
    pub fn content(&self) -> &'static str {
        match self.direct {
            true => r#"{"membership":"invite","is_direct":true}"#,
            false => r#"{"membership":"invite"}"#,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_says_who_invites_and_what_the_room_is() {
        let member = |key: &str, sender: &str, content: &str| {
            format!(
                r#"{{"type":"m.room.member","state_key":"{key}","sender":"{sender}",
                    "content":{content}}}"#
            )
        };
        let state = [
            r#"{"type":"m.room.name","state_key":"","content":{"name":"Room"}}"#.to_owned(),
            "[]".to_owned(),
            r#"{"type":"m.room.name","content":{"name":"No state"}}"#.to_owned(),
            r#"{"type":"m.room.topic","state_key":"","content":7}"#.to_owned(),
            member("@me:b", "@bob:b", r#"{"is_direct":true}"#),
            member("@bob:b", "@carol:b", "{}"),
        ];
        let invitation = Invitation::read(&state, "@me:b");
        assert_eq!((invitation.inviter.as_deref(), invitation.direct), (Some("@bob:b"), true));
        assert_eq!(invitation.state.len(), 1);
        assert_eq!(invitation.state[0].1.text("name").as_deref(), Some("Room"));
        assert!(invitation.content().contains("is_direct"));
        let odd = [member("@me:b", "bob", r#"{"is_direct":"true"}"#)];
        let invitation = Invitation::read(&odd, "@me:b");
        assert_eq!((invitation.inviter.as_deref(), invitation.direct), (None, false));
    }
}
