//! Cuts a lowered tree into fragments for the shards and a finish over their merged partials.

use super::grid::Steps;
use super::lower::{Surroundings, lower};
use super::passes::{push_down::push_down, share::share};
use super::{Fragment, Plan};
use crate::query::QueryError;
use crate::syntax::Expr;

/// The whole way from tree to plan.
pub fn plan(
    expr: &Expr,
    steps: Steps,
    instant: bool,
    around: Surroundings,
    delayed_name_removal: bool,
) -> Result<Plan, QueryError> {
    let mut fragments: Vec<Fragment> = Vec::new();
    let mut node = lower(expr, steps, around, &mut fragments)?;
    push_down(&mut node, &mut fragments, delayed_name_removal);
    let (finish, fragments, uses) = share(node, fragments);
    Ok(Plan {
        steps,
        instant,
        kind: expr.value_type(),
        fragments: fragments.into(),
        uses,
        finish,
        delayed_name_removal,
    })
}
