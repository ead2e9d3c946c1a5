//! The address of a PCI device.

use std::fmt;
use std::str::FromStr;

/// A PCI address: domain, bus, slot and function, as in `0000:00:03.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);

/// A text that is not a PCI address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress(String);

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a PCI device: give one as in 0000:00:03.0",
            self.0
        )
    }
}

impl std::error::Error for InvalidAddress {}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let hex = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        // A domain may have more than four digits.
        let is_address = || {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (slot, function) = rest.split_once('.')?;
            let domain = (4..=8).contains(&domain.len()) && hex(domain, domain.len());
            Some(domain && hex(bus, 2) && hex(slot, 2) && hex(function, 1))
        };
        if is_address() == Some(true) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidAddress(text.to_owned()))
        }
    }
}

impl Address {
    /// Returns the address as sysfs writes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_four_parts_and_is_never_a_path() {
        for right in ["0000:00:03.0", "0001:ff:1f.7", "10000:00:03.0"] {
            assert_eq!(right.parse::<Address>().unwrap().to_string(), right);
        }
        for wrong in ["", "00:03.0", "0000:00:03", "0000:00:03.00", "../0:00:03.0"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
