import { OptionError, ShapeError } from '../errors.js';
import { add } from '../ops/broadcast.js';
import { countedNodes } from '../scope.js';
import { sizeOf, Tensor } from '../tensor.js';
import { type Edge, TapeNode, withTaping } from './tape.js';

/** Operations, of those taped after so many others, in an order in which each comes after all that use its output. */
function reversedOrder(root: TapeNode, since = 0): TapeNode[] {
  const order: TapeNode[] = [];
  const seen = new Set<TapeNode>();
  const stack: { node: TapeNode; next: number }[] = [{ node: root, next: 0 }];
  seen.add(root);
  while (stack.length > 0) {
    const top = stack[stack.length - 1] as { node: TapeNode; next: number };
    const input = top.node.inputs[top.next++];
    if (input instanceof TapeNode && input.number > since && !seen.has(input)) {
      seen.add(input);
      stack.push({ node: input, next: 0 });
    } else if (top.next > top.node.inputs.length) {
      order.push(top.node);
      stack.pop();
    }
  }
  return order.reverse();
}

/**
 * Sums the gradient of `loss` (one value) into `Parameter.grad` of every parameter that it depends on, and frees the graph.
 * Throws ShapeError when the loss is not one value, OptionError when it has no graph or a saved tensor was written since;
 * OutOfMemoryError, after which the graph is used up and the gradients are in part the new ones.
 */
export function backward(loss: Tensor): void {
  if (!(loss instanceof Tensor)) throw new OptionError('backward: a Tensor is needed');
  const { edge, device } = loss;
  if (sizeOf(loss.shape) !== 1) throw new ShapeError(`backward: the loss must hold one value, got shape [${loss.shape}]`);
  if (edge === null)
    throw new OptionError('backward: the loss does not depend on any parameter (was it computed inside noGrad?)');
  if (!(edge instanceof TapeNode)) {
    edge.accumulate(device.full(loss.shape, 1, { dtype: loss.dtype }));
    return;
  }
  const order = reversedOrder(edge);
  if (order.some((node) => node.freed)) throw new OptionError('backward: this graph has been used by backward already');
  for (const node of order) for (const saved of node.saved) saved.get(node.operation);
  const gradients = new Map<Edge, Tensor>();
  try {
    withTaping(false, () =>
      device.unscoped(() => {
        gradients.set(edge, device.full(loss.shape, 1, { dtype: loss.dtype }));
        propagate(order, gradients);
      }),
    );
  } catch (error) {
    for (const gradient of gradients.values()) gradient.dispose();
    throw error;
  }
  loss.edge = null;
}

/** Goes through the operations, freeing each; `gradients` holds those that are under way. */
function propagate(order: readonly TapeNode[], gradients: Map<Edge, Tensor>): void {
  try {
    for (const node of order) {
      const dy = gradients.get(node);
      if (dy && node.again) propagateAgain(node.again, dy, node, gradients);
      else if (dy && node.backward) {
        const { backward } = node;
        const inputGradients = dy.device.scope(() => backward(dy));
        gradients.delete(node);
        for (const [i, gradient] of inputGradients.entries()) if (gradient) deliver(node.inputs[i] ?? null, gradient, gradients);
        if (!inputGradients.includes(dy)) dy.dispose();
      }
      node.free();
    }
  } catch (error) {
    for (const node of order) node.free();
    throw error;
  }
}

/** Goes through the operations that a node stands for; what they hand on arrives as if they had been in its place. */
function propagateAgain(again: () => Tensor, dy: Tensor, node: TapeNode, gradients: Map<Edge, Tensor>): void {
  const since = countedNodes();
  const output = again();
  const root = output.edge as TapeNode;
  output.dispose();
  const order = reversedOrder(root, since);
  gradients.delete(node);
  gradients.set(root, dy);
  propagate(order, gradients);
}

function deliver(edge: Edge | null, gradient: Tensor, gradients: Map<Edge, Tensor>): void {
  if (edge === null) gradient.dispose();
  else if (!(edge instanceof TapeNode)) edge.accumulate(gradient);
  else {
    const sofar = gradients.get(edge);
    if (!sofar) gradients.set(edge, gradient);
    else {
      gradients.set(edge, add(sofar, gradient));
      sofar.dispose();
      gradient.dispose();
    }
  }
}
