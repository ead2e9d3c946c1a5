//! The imports between files, and the circles in them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The first place at which one file imports another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) line: usize,
    pub(super) to: String,
    /// The path that the code uses.
    pub(super) path: String,
}

#[derive(Default)]
pub(super) struct Graph {
    imports: BTreeMap<String, BTreeMap<String, Import>>,
}

impl Graph {
    pub(super) fn add(&mut self, import: Import) {
        if import.from == import.to {
            return;
        }
        let of_file = self.imports.entry(import.from.clone()).or_default();
        let first = of_file
            .entry(import.to.clone())
            .or_insert_with(|| import.clone());
        if import.line < first.line {
            *first = import;
        }
    }

    pub(super) fn imports(&self) -> impl Iterator<Item = &Import> {
        self.imports.values().flat_map(BTreeMap::values)
    }

    /// For each import on a circle, returns the shortest circle through it. Each circle is
    /// returned once, and begins with the first of its names.
    pub(super) fn circles(&self) -> Vec<Vec<Import>> {
        let mut circles = BTreeSet::new();
        for import in self.imports() {
            let Some(back) = self.shortest(&import.to, &import.from) else {
                continue;
            };
            let mut circle = vec![import.clone()];
            circle.extend(back);
            let first = (0..circle.len()).min_by_key(|&at| &circle[at].from);
            circle.rotate_left(first.unwrap_or_default());
            circles.insert(circle);
        }
        let mut circles: Vec<_> = circles.into_iter().collect();
        circles.sort_by_key(Vec::len);
        circles
    }

    fn shortest(&self, from: &str, to: &str) -> Option<Vec<Import>> {
        let mut reached_by: BTreeMap<&str, &Import> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(file) = queue.pop_front() {
            if file == to {
                break;
            }
            for import in self
                .imports
                .get(file)
                .into_iter()
                .flat_map(BTreeMap::values)
            {
                if import.to != from && !reached_by.contains_key(import.to.as_str()) {
                    reached_by.insert(&import.to, import);
                    queue.push_back(&import.to);
                }
            }
        }
        let mut path = Vec::new();
        let mut at = to;
        while at != from {
            let import = reached_by.get(at)?;
            path.push((*import).clone());
            at = &import.from;
        }
        path.reverse();
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(imports: &[(&str, &str)]) -> Vec<String> {
        let mut graph = Graph::default();
        for (from, to) in imports {
            graph.add(Import {
                from: (*from).to_owned(),
                line: 1,
                to: (*to).to_owned(),
                path: (*to).to_owned(),
            });
        }
        let names = |circle: Vec<Import>| {
            let names: Vec<_> = circle.into_iter().map(|import| import.from).collect();
            names.join(" ")
        };
        graph.circles().into_iter().map(names).collect()
    }

    #[test]
    fn each_circle_is_returned_once_and_the_shortest_first() {
        let imports = [
            ("c", "a"),
            ("a", "b"),
            ("b", "c"),
            ("d", "c"),
            ("c", "d"),
            ("d", "e"),
        ];
        assert_eq!(circles(&imports), ["c d", "a b c"]);
    }

    #[test]
    fn imports_that_only_go_down_have_no_circle() {
        let imports = [("a", "b"), ("a", "c"), ("b", "c"), ("a", "a")];
        assert!(circles(&imports).is_empty());
    }
}
