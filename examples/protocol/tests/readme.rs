//! The first program of the project's README.

#[test]
fn the_readmes_program_is_that_of_the_example() {
    let readme = include_str!("../../../README.md");
    let example = include_str!("../../../shmem-channel/examples/rpc.rs");
    let mut blocks = readme.split("```rust,no_run\n").skip(1);
    let shown = blocks.next().and_then(|block| block.split("```\n").next());
    let shown = shown.expect("the README has a program in Rust");
    assert!(
        example.contains(shown),
        "shmem-channel/examples/rpc.rs does not have the README's lines:\n{shown}"
    );
}
