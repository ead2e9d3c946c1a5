//! Finds code that only tests compile.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Returns true if a `cfg` in `attributes` holds only in tests.
pub(crate) fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args()
                .is_ok_and(|predicate| needs_test(&predicate))
    })
}

fn needs_test(predicate: &Meta) -> bool {
    let Meta::List(list) = predicate else {
        return predicate.path().is_ident("test");
    };
    let parse = Punctuated::<Meta, Token![,]>::parse_terminated;
    let Ok(parts) = list.parse_args_with(parse) else {
        return false;
    };
    if list.path.is_ident("all") {
        parts.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(needs_test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_without_tests_is_not_for_tests() {
        for (condition, expected) in [
            ("test", true),
            ("all(test, not(loom))", true),
            ("any(test, all(test, loom))", true),
            ("any(test, loom)", false),
            ("not(test)", false),
            ("feature = \"test\"", false),
        ] {
            let item: syn::ItemMod =
                syn::parse_str(&format!("#[cfg({condition})] mod a;")).unwrap();
            assert_eq!(for_tests(&item.attrs), expected, "{condition}");
        }
    }
}
