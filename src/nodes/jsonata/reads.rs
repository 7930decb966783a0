//! What of a message an expression can read.

use std::collections::BTreeSet;

use jsonata_core::ast::{AstNode, PathStep, Stage};

/// The message properties an expression can read. Errs on the side of too many: names are collected wherever
/// they stand, string literals (as in `$lookup`) among them.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) names: BTreeSet<String>,
    /// Names that stand directly inside `$count(…)` or `$exists(…)`, which look at no contents.
    pub(super) counted: BTreeSet<String>,
    /// The message as a whole can be read: by `$`, `$$`, `*`, `**`, `%`, or by a function that takes its context.
    pub(super) whole: bool,
}

impl Reads {
    /// `rooted`: the node is evaluated with the message itself as context.
    pub(super) fn visit(&mut self, node: &AstNode, rooted: bool) {
        use AstNode as A;
        match node {
            A::String(name) | A::Name(name) => {
                self.names.insert(name.clone());
            }
            A::Number(_) | A::Boolean(_) | A::Null | A::Undefined | A::Placeholder | A::Regex { .. } => {}
            A::Variable(name) => self.whole |= name == "$" || (rooted && name.is_empty()),
            A::ParentVariable(_) | A::Parent(_) => self.whole = true,
            A::Wildcard | A::Descendant => self.whole |= rooted,
            A::Path { steps } => {
                for (i, step) in steps.iter().enumerate() {
                    self.visit_step(step, rooted && i == 0);
                }
            }
            A::Binary { lhs, rhs, .. } => {
                self.visit(lhs, rooted);
                self.visit(rhs, rooted);
            }
            A::Unary { operand, .. } => self.visit(operand, rooted),
            A::Function { name, args, .. } => self.visit_call(name, args, rooted),
            A::Call { procedure, args } => {
                self.visit(procedure, rooted);
                self.visit_all(args, rooted);
            }
            A::Lambda { body, signature, .. } => {
                self.whole |= signature.as_ref().is_some_and(|s| s.contains('-'));
                self.visit(body, rooted);
            }
            A::Array(items) | A::Block(items) | A::ArrayGroup(items) => self.visit_all(items, rooted),
            A::Object(pairs) => self.visit_pairs(pairs, rooted),
            A::ObjectTransform { input, pattern } => {
                self.visit(input, rooted);
                self.visit_pairs(pattern, rooted);
            }
            A::Conditional { condition, then_branch, else_branch } => {
                self.visit(condition, rooted);
                self.visit(then_branch, rooted);
                if let Some(node) = else_branch {
                    self.visit(node, rooted);
                }
            }
            A::FunctionApplication(inner) => self.visit(inner, rooted),
            A::Sort { input, terms } => {
                self.visit(input, rooted);
                for (term, _) in terms {
                    self.visit(term, false);
                }
            }
            A::Transform { location, update, delete } => {
                self.visit(location, rooted);
                self.visit(update, rooted);
                if let Some(node) = delete {
                    self.visit(node, rooted);
                }
            }
        }
    }

    fn visit_step(&mut self, step: &PathStep, rooted: bool) {
        self.visit(&step.node, rooted);
        for stage in &step.stages {
            if let Stage::Filter(filter) = stage {
                self.visit(filter, false);
            }
        }
    }

    fn visit_call(&mut self, name: &str, args: &[AstNode], rooted: bool) {
        self.whole |= match name {
            "eval" => true,
            // Functions that take an object as context when an argument is missing.
            "boolean" | "not" | "string" | "keys" | "spread" | "clone" => args.is_empty(),
            "each" | "sift" | "lookup" => args.len() < 2,
            _ => false,
        };
        if let ("count" | "exists", [only]) = (name, args)
            && rooted
            && let Some(name) = single_name(only)
        {
            self.counted.insert(name.to_string());
            return;
        }
        self.visit_all(args, rooted);
    }

    fn visit_all(&mut self, nodes: &[AstNode], rooted: bool) {
        for node in nodes {
            self.visit(node, rooted);
        }
    }

    fn visit_pairs(&mut self, pairs: &[(AstNode, AstNode)], rooted: bool) {
        for (key, value) in pairs {
            self.visit(key, rooted);
            self.visit(value, rooted);
        }
    }
}

fn single_name(node: &AstNode) -> Option<&str> {
    match node {
        AstNode::Name(name) => Some(name),
        AstNode::Path { steps } => match steps.as_slice() {
            [step] if step.stages.is_empty() => single_name(&step.node),
            _ => None,
        },
        _ => None,
    }
}
