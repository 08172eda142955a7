//! Methods: what this device can do, and what goes with what the other can.

use crate::{
    error::Result,
    judgement::verification::{RECIPROCATE, SAS, SCAN, SHOW},
    machine::{Work, identity},
    store::records::Verification,
};

/// What this device can do to verify a user. Codes hold master keys: there must be some.
pub(super) fn our_methods(work: &Work<'_>, user_id: &str) -> Result<Vec<&'static str>> {
    let has_identity =
        |user_id: &str| identity::identity(work, user_id).map(|found| found.is_some());
    if has_identity(user_id)? && has_identity(&work.own.user_id)? {
        return Ok(vec![SAS, SHOW, SCAN, RECIPROCATE]);
    }
    Ok(vec![SAS])
}

/// What of that goes with what the other side can do, as far as that is known.
pub(super) fn methods(work: &Work<'_>, flow: &Verification) -> Result<Vec<&'static str>> {
    Ok(matching(our_methods(work, &flow.user_id)?, &flow.methods))
}

fn matching(ours: Vec<&'static str>, theirs: &[String]) -> Vec<&'static str> {
    let can = |method| theirs.iter().any(|their| their == method);
    let with_codes = can(RECIPROCATE) && (can(SHOW) || can(SCAN));
    let goes_with_theirs = |method: &&str| match *method {
        SAS => can(SAS),
        SHOW => with_codes && can(SCAN),
        SCAN => with_codes && can(SHOW),
        _ => with_codes,
    };
    ours.into_iter().filter(goes_with_theirs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_goes_with_who_scans() {
        let cases: [(&[&str], &[&str]); 8] = [
            (&[], &[]),
            (&["m.other"], &[]),
            (&[SAS], &[SAS]),
            (&[SAS, SHOW, SCAN, RECIPROCATE], &[SAS, SHOW, SCAN, RECIPROCATE]),
            (&[SHOW, RECIPROCATE], &[SCAN, RECIPROCATE]),
            (&[SCAN, RECIPROCATE], &[SHOW, RECIPROCATE]),
            (&[SAS, SHOW, SCAN], &[SAS]),
            (&[RECIPROCATE], &[]),
        ];
        for (theirs, expected) in cases {
            let theirs: Vec<String> = theirs.iter().map(|&method| method.to_owned()).collect();
            assert_eq!(matching(vec![SAS, SHOW, SCAN, RECIPROCATE], &theirs), expected);
            let without = matching(vec![SAS], &theirs);
            assert_eq!(without.is_empty(), !theirs.contains(&SAS.to_owned()), "{theirs:?}");
        }
    }
}
