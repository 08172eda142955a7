//! What clients rely on, asked of the server through its one entrance.

#[cfg(test)]
mod support;

#[cfg(test)]
mod account_data;
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod cross_signing;
#[cfg(test)]
mod delayed_events;
#[cfg(test)]
mod deviations;
#[cfg(test)]
mod device_lists;
#[cfg(test)]
mod key_backup;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod robustness;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod syncing;
#[cfg(test)]
mod to_device;
#[cfg(test)]
mod visibility;
