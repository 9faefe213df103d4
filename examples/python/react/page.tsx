export interface Order {
  customer: string;
  items: { name: string; count: number }[];
}

export function OrderPage({ customer, items }: Order): React.JSX.Element {
  return (
    <main>
      <h1>Thank you, {customer}</h1>
      <ul>
        {items.map(({ name, count }) => (
          <li key={name}>
            {count} × {name}
          </li>
        ))}
      </ul>
    </main>
  );
}
