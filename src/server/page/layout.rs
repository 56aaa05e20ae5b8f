//! Places for the components of a graph: layers from left to right, each in an order with few
//! crossings of edges.

use std::collections::BTreeMap;

/// The number of sweeps that improve the order within layers. More change little.
const SWEEPS: usize = 8;

/// A component's place: its layer from the left, and its position in the layer from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The layer.
    pub layer: usize,
    /// The position in the layer.
    pub position: usize,
}

/// Lays out components, each by its position in the list; `edges` go from one to another, and
/// without a cycle.
pub(crate) fn lay_out(count: usize, edges: &[(usize, usize)]) -> Vec<Cell> {
    let layers = layers_of(count, edges);
    let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (component, layer) in layers.iter().enumerate() {
        rows.entry(*layer).or_default().push(component);
    }
    for sweep in 0..SWEEPS {
        let mut numbers: Vec<usize> = rows.keys().copied().collect();
        if sweep % 2 == 1 {
            numbers.reverse();
        }
        for layer in numbers {
            let positions = positions_of(&rows, count);
            let Some(row) = rows.get_mut(&layer) else { continue };
            let mean = |component: usize| mean_of_neighbours(component, edges, &positions);
            let mut keyed: Vec<(f64, usize)> = row.iter().map(|one| (mean(*one), *one)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *row = keyed.into_iter().map(|(_, component)| component).collect();
        }
    }
    let positions = positions_of(&rows, count);
    let cell = |(component, layer): (usize, &usize)| Cell {
        layer: *layer,
        position: positions[component],
    };
    layers.iter().enumerate().map(cell).collect()
}

/// Returns the length of the longest path from a source to each component.
fn layers_of(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layers = vec![0; count];
    // In a graph without cycles, no path has more edges than there are components.
    for _ in 0..count {
        let mut is_stable = true;
        for (from, to) in edges {
            if layers[*to] <= layers[*from] {
                layers[*to] = layers[*from] + 1;
                is_stable = false;
            }
        }
        if is_stable {
            break;
        }
    }
    layers
}

fn positions_of(rows: &BTreeMap<usize, Vec<usize>>, count: usize) -> Vec<usize> {
    let mut positions = vec![0; count];
    for row in rows.values() {
        for (position, component) in row.iter().enumerate() {
            positions[*component] = position;
        }
    }
    positions
}

fn mean_of_neighbours(component: usize, edges: &[(usize, usize)], positions: &[usize]) -> f64 {
    let others = edges.iter().filter_map(|(from, to)| match (*from, *to) {
        (from, to) if to == component => Some(from),
        (from, to) if from == component => Some(to),
        _ => None,
    });
    let places: Vec<f64> = others.map(|other| positions[other] as f64).collect();
    if places.is_empty() {
        return positions[component] as f64;
    }
    places.iter().sum::<f64>() / places.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_follow_the_edges_and_crossings_are_undone() {
        // 0 → 2, 1 → 3, 2 → 5, 3 → 4: the last layer is turned around.
        let cells = lay_out(6, &[(0, 2), (1, 3), (2, 5), (3, 4)]);
        let layers: Vec<usize> = cells.iter().map(|cell| cell.layer).collect();
        assert_eq!(layers, [0, 0, 1, 1, 2, 2]);
        assert!(cells[5].position < cells[4].position);
        assert_eq!(lay_out(0, &[]), []);
        let diamond = lay_out(4, &[(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)]);
        assert_eq!(diamond[3], Cell { layer: 2, position: 0 });
    }
}
