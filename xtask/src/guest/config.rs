//! A configuration of KMON with guests that run an image.

use toml::{Table, Value};

use super::Image;

/// Returns a `kmon.toml` with `instances` instances under QEMU.
pub(crate) fn config(image: &Image, instances: u32) -> String {
    let guest = Table::from_iter([
        ("kind".to_owned(), Value::from("qemu")),
        (
            "kernel".to_owned(),
            Value::from(image.kernel.display().to_string()),
        ),
        (
            "initrd".to_owned(),
            Value::from(image.initrd.display().to_string()),
        ),
        ("memory".to_owned(), Value::from("96M")),
        ("vcpus".to_owned(), Value::from(1)),
        ("transport".to_owned(), Value::from("ivshmem")),
    ]);
    let guests = vec![Value::from(guest); instances as usize];
    Table::from_iter([("instance".to_owned(), Value::from(guests))]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_is_a_separate_instance() {
        let image = Image {
            kernel: "/t/vmlinuz".into(),
            initrd: "/t/initramfs.cpio".into(),
            release: String::new(),
            modules: "/t".into(),
            daemon: "/t/guestd".into(),
        };
        let text = config(&image, 2);
        assert_eq!(text.matches("[[instance]]\n").count(), 2, "{text}");
        assert!(text.contains("kernel = \"/t/vmlinuz\"\n"), "{text}");
    }
}
