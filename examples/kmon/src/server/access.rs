//! Who may do what: roles, by the credentials of a connection's peer.

use anyhow::anyhow;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};

use crate::config::AccessConfig;

/// What a client may do. Each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// See states, logs, statistics and consoles.
    View,
    /// Also type, run commands, and start and end instances.
    Operate,
    /// Also add and remove instances, and end the server.
    Administer,
}

impl Role {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Operate => "operate",
            Self::Administer => "administer",
        }
    }
}

/// The process at the other end of a connection, and the role of its user.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) user: String,
    pub(super) pid: i32,
    pub(super) role: Option<Role>,
}

/// The roles of users and groups.
#[derive(Debug)]
pub(super) struct Access {
    rules: Vec<(Role, Principal)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Principal {
    User(Uid),
    Group(Gid),
}

impl Access {
    /// Returns the roles of the configuration. The server's user always administers.
    ///
    /// # Errors
    /// There is no such user or group.
    pub(super) fn new(config: &AccessConfig) -> anyhow::Result<Self> {
        let mut rules = vec![(Role::Administer, Principal::User(geteuid()))];
        for (role, names) in [
            (Role::View, &config.view),
            (Role::Operate, &config.operate),
            (Role::Administer, &config.administer),
        ] {
            for name in names {
                rules.push((role, principal(name)?));
            }
        }
        Ok(Self { rules })
    }

    /// Returns true if other users than the server's have a role.
    pub(super) fn is_shared(&self) -> bool {
        self.rules.len() > 1
    }

    /// Returns the peer with these credentials.
    pub(super) fn peer(&self, uid: u32, gid: u32, pid: i32) -> Peer {
        let uid = Uid::from_raw(uid);
        // A user without an entry is known by its number.
        let user = User::from_uid(uid).ok().flatten();
        let groups = match &user {
            Some(user) if self.is_shared() => groups(user, Gid::from_raw(gid)),
            _ => vec![Gid::from_raw(gid)],
        };
        Peer {
            user: user.map_or_else(|| uid.to_string(), |user| user.name),
            pid,
            role: self.role(uid, &groups),
        }
    }

    fn role(&self, uid: Uid, groups: &[Gid]) -> Option<Role> {
        let rules = self.rules.iter();
        let applying = rules.filter(|(_, principal)| match principal {
            Principal::User(user) => *user == uid,
            Principal::Group(group) => groups.contains(group),
        });
        applying.map(|(role, _)| *role).max()
    }
}

fn groups(user: &User, primary: Gid) -> Vec<Gid> {
    let name = std::ffi::CString::new(user.name.clone()).unwrap_or_default();
    getgrouplist(&name, primary).unwrap_or_else(|_| vec![primary])
}

/// Returns the user, or the group after `@`, with this name or number.
fn principal(name: &str) -> anyhow::Result<Principal> {
    if let Some(group) = name.strip_prefix('@') {
        let number = group.parse().map(Gid::from_raw).ok();
        let named = || Some(Group::from_name(group).ok()??.gid);
        let found = number.or_else(named).map(Principal::Group);
        return found.ok_or_else(|| anyhow!("[access]: there is no group `{group}`"));
    }
    let number = name.parse().map(Uid::from_raw).ok();
    let named = || Some(User::from_name(name).ok()??.uid);
    let found = number.or_else(named).map(Principal::User);
    found.ok_or_else(|| anyhow!("[access]: there is no user `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_role_of_a_user_and_its_groups_counts() {
        let config = AccessConfig {
            view: vec!["@77".into()],
            operate: vec!["12345".into(), "@78".into()],
            administer: vec!["12346".into()],
        };
        let access = Access::new(&config).unwrap();
        let role = |uid, groups: &[u32]| {
            let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
            access.role(Uid::from_raw(uid), &groups)
        };
        assert_eq!(role(12345, &[77]), Some(Role::Operate));
        assert_eq!(role(12346, &[77]), Some(Role::Administer));
        assert_eq!(role(9, &[77]), Some(Role::View));
        assert_eq!(role(9, &[77, 78]), Some(Role::Operate));
        assert_eq!(role(9, &[9]), None);
        assert_eq!(role(geteuid().as_raw(), &[9]), Some(Role::Administer));
    }

    #[test]
    fn without_a_configuration_only_the_servers_user_has_a_role() {
        let access = Access::new(&AccessConfig::default()).unwrap();
        assert!(!access.is_shared());
        let other = Uid::from_raw(geteuid().as_raw() + 1);
        assert_eq!(access.role(other, &[]), None);
    }

    #[test]
    fn a_name_without_a_user_or_group_is_refused() {
        for (name, says) in [
            ("no such user", "there is no user `no such user`"),
            ("@no such group", "there is no group `no such group`"),
        ] {
            let config = AccessConfig {
                view: vec![name.into()],
                ..AccessConfig::default()
            };
            let error = Access::new(&config).unwrap_err().to_string();
            assert!(error.ends_with(says), "{error}");
        }
    }
}
