use super::*;
use crate::kind::{Accelerator, Boot, Kind, Transport};

fn parse(text: &str) -> anyhow::Result<Config> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    Config::check(&Source::from_text(text, base))
}

fn error(text: &str) -> String {
    let error = parse(text).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn a_whole_file_is_read() {
    let text = "[kmon]\nprompt = 'K> '\nescape = '^A'\nperiod = 0.5\nlog_bytes = 100000\n\
                [[instance]]\nname = 'web'\nshell = '/bin/sh'\n[[instance]]\n";
    let config = parse(text).unwrap();
    assert_eq!(config.escape, Some(Escape(1)));
    assert_eq!(config.instances.len(), 2);
    assert_eq!(config.instances[0].name.as_deref().unwrap(), "web");
}

#[test]
fn the_examples_in_the_manual_are_valid() {
    let manual = include_str!("../../../../docs/kmon.md");
    let example = manual.split("```toml").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let config = parse(example).unwrap();
    assert_eq!(config.instances.len(), 2);
    assert_eq!(config.escape, Some(Escape::default()));
    // The other kinds. The kernel and its initrd do not exist here.
    let example = manual.split("```toml").nth(2).unwrap();
    let example = example.split("```").next().unwrap();
    let example = example.replace("\"vmlinuz\"", "'/bin/sh'");
    let example = example.replace("\"initramfs.cpio\"", "'/bin/sh'");
    let config = parse(&example).unwrap();
    let kinds = config.instances.iter().map(|one| one.kind.word());
    assert_eq!(kinds.collect::<Vec<_>>(), ["qemu", "external"]);
}

#[test]
fn an_error_names_its_line_and_what_was_expected() {
    let typo = error("[kmon]\n\npromt = 'x'\n");
    assert!(
        typo.starts_with("kmon.toml:3: key promt: unknown field `promt`; expected"),
        "{typo}"
    );
    let wrong = error("[kmon]\nperiod = 'soon'\n");
    assert!(
        wrong.starts_with("kmon.toml:2: key period: invalid type"),
        "{wrong}"
    );
    assert!(wrong.contains("; expected"), "{wrong}");
    let range = error("[kmon]\nlog_bytes = 3\n");
    assert!(
        range.starts_with("kmon.toml:2: key log_bytes: 3 is out of range; expected"),
        "{range}"
    );
    let name = error("[[instance]]\nname = 'a b'\n");
    assert!(
        name.starts_with("kmon.toml:2: key name: `a b` is not a host name; expected"),
        "{name}"
    );
    for shell in ["", "/etc/passwd", "/bin", "/no/such/shell"] {
        let shell = error(&format!("[[instance]]\nshell = '{shell}'\n"));
        assert!(shell.starts_with("kmon.toml:2: key shell: `"), "{shell}");
        assert!(shell.contains("is not an executable file"), "{shell}");
    }
    let twice = error(&"[[instance]]\nname = 'web'\n".repeat(2));
    assert!(twice.contains("two instances are named `web`"), "{twice}");
    assert!(error("[kmon\n").starts_with("kmon.toml:1: "));
    for text in [
        "[kmon]\nx = 'é",
        "\u{feff}[",
        "=",
        "a=b=c",
        "[[instance]]\n[instance]",
    ] {
        assert!(!error(text).contains('\n'));
    }
}

/// Returns the text of an instance of kind `kind` with these further lines.
fn instance(kind: &str, lines: &str) -> String {
    format!("[[instance]]\nkind = '{kind}'\n{lines}\n")
}

#[test]
fn the_paths_of_a_machine_are_relative_to_the_file() {
    let text = instance(
        "qemu",
        "memory = '96M'\nvcpus = 2\nkernel = 'src/lib.rs'\ninitrd = '/bin/sh'\n\
         transport = 'reserved'\nappend = 'quiet'\nextra = ['-snapshot']",
    );
    let Kind::Qemu(qemu) = &parse(&text).unwrap().instances[0].kind else {
        panic!("no machine");
    };
    assert_eq!((qemu.memory_mib, qemu.vcpus), (96, 2));
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let initrd = Some("/bin/sh".into());
    assert_eq!(qemu.boot, Boot::Kernel { kernel, initrd });
    assert_eq!(qemu.transport, Transport::Reserved);
    assert_eq!(qemu.accelerator, Accelerator::Tcg);
    assert_eq!(qemu.program, Path::new("qemu-system-x86_64"));
}

#[test]
fn an_external_instance_names_the_place_of_its_memory() {
    let text = instance("external", "region = 'file:ram@64M+2M'\npoll = true");
    let Kind::External(external) = &parse(&text).unwrap().instances[0].kind else {
        panic!("not external");
    };
    let base = env!("CARGO_MANIFEST_DIR");
    let expected = format!("file:{base}/ram@0x4000000+0x200000");
    assert_eq!(external.region.to_string(), expected);
    assert!(external.poll);
}

#[track_caller]
fn assert_refused(text: &str, expected: &str) {
    let message = error(text);
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn a_key_of_another_kind_is_refused_at_its_line() {
    assert_refused(
        "[[instance]]\nname = 'a'\nvcpus = 1\nmemory = '96M'\n",
        "kmon.toml:3: key vcpus: belongs to kind = \"qemu\"; this instance has kind = \"process\"",
    );
    assert_refused(
        &instance("qemu", "kernel = '/bin/sh'\nshell = '/bin/sh'"),
        "kmon.toml:4: key shell: belongs to kind = \"process\"; this instance has kind = \"qemu\"",
    );
    assert_refused(
        &instance("external", "region = 'shm:/a'\nkernel = '/bin/sh'"),
        "kmon.toml:4: key kernel: belongs to kind = \"qemu\"",
    );
}

#[test]
fn missing_keys_and_unusable_files_are_errors_with_their_line() {
    assert_refused(
        &instance("qemu", "vcpus = 1"),
        "kmon.toml:2: key kind: this machine has nothing to start from; expected",
    );
    assert_refused(
        &instance("qemu", "vcpus = 1\nkernel = '/no/such/kernel'"),
        "kmon.toml:4: key kernel: `/no/such/kernel` cannot be read: No such file",
    );
    assert_refused(
        &instance("qemu", "disk = '/tmp'"),
        "kmon.toml:3: key disk: `/tmp` cannot be read: it is a directory",
    );
    assert_refused(
        &instance("qemu", "disk = '/bin/sh'\nappend = 'quiet'"),
        "kmon.toml:4: key append: needs the key kernel; a disk",
    );
    assert_refused(
        &instance("qemu", "kernel = '/bin/sh'\ndisk = '/bin/sh'"),
        "kmon.toml:4: key disk: a machine starts from a kernel or from a disk",
    );
    assert_refused(
        &instance("qemu", "kernel = '/bin/sh'\nqemu = './no-qemu'"),
        "kmon.toml:4: key qemu: `./no-qemu` is not an executable file",
    );
    assert_refused(
        &instance("external", ""),
        "kmon.toml:2: key kind: the place of its memory is missing; expected",
    );
    assert_refused(
        &instance("external", "region = 'usb:1'"),
        "kmon.toml:3: key region: \"usb:1\" is not a place of a region",
    );
    assert_refused(
        &instance("external", "region = 'fd:7'"),
        "kmon.toml:3: key region: a later KMON cannot use fd:N",
    );
}

#[test]
fn values_out_of_range_are_refused() {
    assert_refused(
        &instance("qemu", "memory = '96'"),
        "kmon.toml:3: key memory: `96` is not a memory size; expected",
    );
    assert_refused(
        &instance("qemu", "vcpus = 0"),
        "kmon.toml:3: key vcpus: 0 is out of range; expected",
    );
    assert_refused(
        &instance("qemu", "transport = 'serial'"),
        "kmon.toml:3: key transport: unknown variant `serial`; expected",
    );
    assert_refused(
        &instance("cell", ""),
        "kmon.toml:2: key kind: unknown variant `cell`; expected",
    );
}

#[test]
fn logs_have_a_directory_a_size_and_a_count() {
    let logs = parse("[logs]\ndirectory = 'here'\nsize = '64K'\ncount = 3\ncompress = true\n");
    let logs = logs.unwrap().logs;
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("here");
    assert_eq!(
        (logs.directory, logs.size, logs.count),
        (Some(here), Some(65536), Some(3))
    );
    for size in ["63K", "1", "M", "17G", "1m", "-1M", "99999999999999999999G"] {
        let expected = format!("kmon.toml:2: key size: `{size}` is not the size of a log's file");
        assert_refused(&format!("[logs]\nsize = '{size}'\n"), &expected);
    }
    assert_refused(
        "[logs]\ncount = 1\n",
        "kmon.toml:2: key count: 1 is out of range; expected",
    );
    assert_refused(
        "[logs]\ncount = 2\ncompress = true\n",
        "kmon.toml:3: key compress: needs count = 3 or more",
    );
    assert_refused(
        "[logs]\nsizes = 1\n",
        "kmon.toml:2: key sizes: unknown field",
    );
}
